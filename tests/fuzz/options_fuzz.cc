// Any text as what a user writes in options: refused, or read so that writing it down and reading
// it again gives the same.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.h"
#include "restkv/budget.h"
#include "restkv/params.h"

namespace {

using restkv::Budget;
using restkv::ParamInfo;
using restkv::ParamKind;
using restkv::ParamValues;

void demand(bool good, const char* complaint) {
  if (good) return;
  std::fprintf(stderr, "options_fuzz: %s\n", complaint);
  std::abort();
}

void read_budget(std::string_view text) {
  const auto budget = Budget::parse(text);
  if (!budget.ok()) return;
  demand(budget->amount > 0, "a budget of nothing");
  demand(budget->unit == Budget::Unit::kTokens || budget->amount <= 100, "more than all");
  const auto again = Budget::parse(budget->text());
  demand(again.ok() && again->amount == budget->amount && again->unit == budget->unit,
         "a budget that changes when it is written down");
}

constexpr ParamInfo kParams[] = {
    {.name = "a",
     .summary = "",
     .kind = ParamKind::kNumber,
     .default_value = "0.5",
     .max = 1,
     .choices = ""},
    {.name = "n",
     .summary = "",
     .kind = ParamKind::kInteger,
     .default_value = "3",
     .min = -5,
     .max = 5,
     .choices = ""},
    {.name = "s", .summary = "", .kind = ParamKind::kSwitch, .default_value = "on", .choices = ""},
    {.name = "c",
     .summary = "",
     .kind = ParamKind::kChoice,
     .default_value = "x",
     .choices = "x|yy"},
};

void read_params(std::string_view text) {
  const auto named = restkv::parse_named_params(text);
  if (!named.ok()) return;
  std::string again = named->name;
  for (const auto& [name, value] : named->assignments) again += ":" + name + "=" + value;
  demand(again == text, "parts that do not make the whole");
  const auto values = ParamValues::parse("fuzz", kParams, named->assignments);
  if (!values.ok()) return;
  demand(values->number("a") >= 0 && values->number("a") <= 1, "a number out of range");
  demand(values->integer("n") >= -5 && values->integer("n") <= 5, "an integer out of range");
  demand(values->choice("c") == "x" || values->choice("c") == "yy", "no choice");
  (void)values->on("s");
}

void read_flags(std::string_view text) {
  std::string name;
  long long whole = 1;
  double number = 0.5;
  bool on = false;
  restkv::FlagSet flags("usage: fuzz");
  flags.add_text({"-t", "--text"}, "TEXT", "a text", &name);
  flags.add_integer({"-n", "--number"}, "a whole number", -3, 3, [&](long long v) { whole = v; });
  flags.add_number({"-x", "--real"}, "a number", 0, 1, [&](double v) { number = v; });
  flags.add_switch({"-s", "--switch"}, "a switch", [&] { on = true; });
  flags.add_ignored({"-i", "--ignored"}, "N", "no reason");
  const std::vector<std::string> words = restkv::split_list(text, '\n');
  const std::vector<std::string_view> args(words.begin(), words.end());
  const auto parsed = flags.parse(args);
  demand(parsed.ok() || !parsed.error().message.empty(), "refused without a word");
  demand(whole >= -3 && whole <= 3 && number >= 0 && number <= 1, "a value out of range");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_budget(text);
  read_params(text);
  read_flags(text);
  return 0;
}
