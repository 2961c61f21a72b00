// `restkv policies`: the tables, as they are.

#include <cstdio>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/flags.h"
#include "engine/combinations.h"
#include "restkv/allocator.h"
#include "restkv/decode_options.h"
#include "restkv/policy.h"
#include "sparse/pattern.h"

namespace restkv {
namespace {

std::string values_of(const ParamInfo& param) {
  switch (param.kind) {
    case ParamKind::kSwitch: return "on|off";
    case ParamKind::kChoice: return std::string(param.choices);
    case ParamKind::kInteger:
    case ParamKind::kNumber: {
      char buffer[64];
      std::snprintf(buffer, sizeof(buffer), "%g to %g", param.min, param.max);
      return buffer;
    }
  }
  return "";
}

std::string protection_text(const PolicyInfo& policy) {
  if (policy.keeps_all) return "everything";
  if (policy.inner != nullptr) return "what `score` protects";
  std::string text;
  if (policy.paper_protection.sinks > 0) {
    text = std::to_string(policy.paper_protection.sinks) + " sinks";
  }
  if (policy.paper_protection.window) text += std::string(text.empty() ? "" : ", ") + "the window";
  return text.empty() ? "nothing" : text;
}

void print_params(std::span<const ParamInfo> params) {
  for (const ParamInfo& param : params) {
    std::printf("      %-12s %s; %s (%s)\n", std::string(param.name).c_str(),
                std::string(param.summary).c_str(), values_of(param).c_str(),
                std::string(param.default_value).c_str());
  }
}

template <typename Info>
void print_plainly(const char* title, std::span<const Info* const> table) {
  std::printf("\n%s\n", title);
  for (const Info* info : table) {
    std::printf("  %-15s %s\n      %s\n", std::string(info->name).c_str(),
                std::string(info->summary).c_str(), std::string(info->paper).c_str());
    print_params(info->params);
  }
}

void print_plain() {
  std::puts("policies: what a token is worth (--kv-policy)");
  for (const PolicyInfo* policy : all_policies()) {
    std::printf("  %-15s %s\n", std::string(policy->name).c_str(),
                std::string(policy->summary).c_str());
    std::printf("      %s; the paper protects %s\n", std::string(policy->paper).c_str(),
                protection_text(*policy).c_str());
    print_params(policy->params);
  }
  print_plainly<AllocatorInfo>("allocators: how the budget is divided (--kv-alloc)",
                               all_allocators());
  print_plainly<PatternInfo>("prefill: which part of a prompt's attention is computed (--prefill)",
                             all_patterns());
  print_plainly<DecodeMethodInfo>("decode: what a step reads of the cache (--decode-attn)",
                                  all_decode_methods());
}

template <typename Info>
void print_option_table(std::span<const Info* const> table) {
  std::puts("\n| name | option | meaning | values | default |\n|---|---|---|---|---|");
  for (const Info* info : table) {
    for (const ParamInfo& param : info->params) {
      std::string values = values_of(param);
      for (std::size_t at = 0; (at = values.find('|', at)) != std::string::npos; at += 2) {
        values.replace(at, 1, "\\|");
      }
      std::printf("| `%s` | `%s` | %s | %s | %s |\n", std::string(info->name).c_str(),
                  std::string(param.name).c_str(), std::string(param.summary).c_str(),
                  values.c_str(), std::string(param.default_value).c_str());
    }
  }
}

template <typename Info>
void print_section(const char* title, const char* what, std::span<const Info* const> table) {
  std::printf("\n## %s\n\n| name | %s | publication |\n|---|---|---|\n", title, what);
  for (const Info* info : table) {
    std::printf("| `%s` | %s | %s |\n", std::string(info->name).c_str(),
                std::string(info->summary).c_str(), std::string(info->paper).c_str());
  }
  print_option_table(table);
}

void print_markdown() {
  std::puts("# Policies and allocators\n\nWritten by `restkv policies --markdown`; do not edit.\n");
  std::puts(
      "## Policies\n\n| name | what a token is worth | publication | it protects "
      "|\n|---|---|---|---|");
  for (const PolicyInfo* policy : all_policies()) {
    std::printf("| `%s` | %s | %s | %s |\n", std::string(policy->name).c_str(),
                std::string(policy->summary).c_str(), std::string(policy->paper).c_str(),
                protection_text(*policy).c_str());
  }
  print_option_table(all_policies());
  print_section<AllocatorInfo>("Allocators", "how the budget is divided", all_allocators());
  print_section<PatternInfo>("Prefill", "which part of the attention is computed", all_patterns());
  print_section<DecodeMethodInfo>("Decode", "what a step reads of the cache", all_decode_methods());
}

// "`a`, `b`": entries of a table that `is` says yes to.
template <typename Info>
std::string names_where(std::span<const Info* const> table, bool Info::* is) {
  std::string names;
  for (const Info* info : table) {
    if (info->*is) names += (names.empty() ? "`" : ", `") + std::string(info->name) + "`";
  }
  return names;
}

// What no pair of names can show: it depends on numbers, files or the model.
void print_refused_by_numbers() {
  std::printf(
      "\n## Refused for a number, a file or a model\n\n"
      "Before a model is loaded:\n"
      "- an odd `--kv-window` with a policy that needs an even one, also within chunkkv: %s\n"
      "- `chunk:N` with N below the window\n"
      "- a budget in tokens below the protected rows, sinks and window together\n"
      "- a `--decode-budget` with `dense` alone\n"
      "- `lacache` with an overlap that is not below its span\n"
      "- a `--decode-table` with a method that takes none (%s takes one), with `block=`, or with "
      "another\n  estimator than it was measured for\n\n",
      names_where(all_policies(), &PolicyInfo::even_window).c_str(),
      names_where(all_decode_methods(), &DecodeMethodInfo::takes_table).c_str());
  std::puts(
      "When the model is known:\n"
      "- `lacache`, also within chunkkv, with a span of as many layers as the model has or more, "
      "or "
      "an\n  overlap that is not below the span that this comes to\n"
      "- renumbered positions where layers see a sliding window\n"
      "- quantised cache types where the head dimension is no multiple of 32\n"
      "- a `--decode-table` of another model\n"
      "- a prefill that f32 caches would share with other types, or several methods under "
      "`chunk:N`;\n  `run` and `eval` read the latter apart\n"
      "- `bench --fill synthetic` with `query-head`");
}

void print_combinations() {
  const std::vector<Dimension> dimensions = combination_dimensions();
  std::puts(
      "# What goes together\n\nWritten by `restkv policies --combinations`; do not edit.\n\n"
      "Any value of one line goes with any of the others, but for the sets below. These are\n"
      "the smallest ones: whatever has all parts of one is refused before a model is loaded, with "
      "the\nmessage beside it. The first value of a line is the usual one, which the message of a "
      "set is given for.\nBoth `--kv-mode`s go with everything. Policies and allocators "
      "stand here with\neach choice that is not their default. Tests try all pairs on a small "
      "model.\n");
  std::puts("| | flag | values |\n|---|---|---|");
  for (const Dimension& dimension : dimensions) {
    std::string values;
    for (const Setting& setting : dimension.settings) {
      values += (values.empty() ? "`" : ", `") + setting.text + "`";
    }
    std::printf("| %s | `%s` | %s |\n", dimension.name.c_str(), dimension.flag.c_str(),
                values.c_str());
  }
  std::puts("\n## Refused\n\n| together | message |\n|---|---|");
  for (const Refusal& refusal : smallest_refusals(dimensions)) {
    std::string parts;
    for (std::size_t d = 0; d < dimensions.size(); ++d) {
      if (refusal.choice[d] == 0) continue;
      parts +=
          (parts.empty() ? "`" : " + `") + dimensions[d].settings[refusal.choice[d]].text + "`";
    }
    std::printf("| %s | %s |\n", parts.c_str(), refusal.message.c_str());
  }
  print_refused_by_numbers();
}

}  // namespace

int policies_command(Arguments args) {
  bool markdown = false;
  bool combinations = false;
  bool help = false;
  FlagSet flags(
      "usage: restkv policies [--markdown | --combinations]\n\n"
      "Lists the policies, the allocators, the patterns of sparse prefill and what decode may "
      "read.");
  flags.add_switch({"--markdown"}, "as docs/policies.md", [&markdown] { markdown = true; });
  flags.add_switch({"--combinations"}, "as docs/combinations.md: what does not go together",
                   [&combinations] { combinations = true; });
  flags.add_switch({"-h", "--help"}, "this text", [&help] { help = true; });
  if (const auto status = read_flags(flags, args, help)) return *status;
  if (combinations) {
    print_combinations();
  } else if (markdown) {
    print_markdown();
  } else {
    print_plain();
  }
  return 0;
}

}  // namespace restkv
