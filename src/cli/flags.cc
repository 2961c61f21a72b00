#include "cli/flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <type_traits>

#include "base/check.h"

namespace restkv {
namespace {

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string number_text(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return {buffer, error == std::errc() ? end : buffer};
}

template <typename Number>
Result<Number> parse_number(std::string_view name, std::string_view text, Number least,
                            Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  if (!whole || !(value >= least && value <= most)) {
    const char* kind =
        std::is_integral_v<Number> ? " takes a whole number from " : " takes a number from ";
    return wrong(std::string(name) + kind + number_text(static_cast<double>(least)) + " to " +
                 number_text(static_cast<double>(most)) + ", not '" + std::string(text) + "'");
  }
  return value;
}

// As llama.cpp's variables have it.
Result<bool> parse_truth(std::string_view text) {
  constexpr std::string_view kTrue[] = {"on", "enabled", "true", "1"};
  constexpr std::string_view kFalse[] = {"off", "disabled", "false", "0"};
  if (std::ranges::find(kTrue, text) != std::end(kTrue)) return true;
  if (std::ranges::find(kFalse, text) != std::end(kFalse)) return false;
  return wrong("takes on or off, not '" + std::string(text) + "'");
}

// Number of insertions, deletions and replacements between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

constexpr std::size_t kHelpColumn = 32;  // where the words begin
constexpr std::size_t kHelpWidth = 100;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Breaks at spaces so that no line passes the width; every line but the first is indented.
std::string wrapped(std::string_view words, std::size_t indent) {
  std::string text;
  std::size_t column = indent;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (column > indent && column + 1 + end > kHelpWidth) {
      text += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      text += ' ';
      ++column;
    }
    text += words.substr(0, end);
    column += end;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return text;
}

}  // namespace

void FlagSet::add(Flag flag) {
  for (const std::string_view name : flag.names) RESTKV_CHECK(find(name) == nullptr);
  flags_.push_back(std::move(flag));
}

void FlagSet::add_text(std::vector<std::string_view> names, std::string_view value_name,
                       std::string help, std::string* target, std::string_view environment) {
  add({.names = std::move(names),
       .value_name = value_name,
       .help = std::move(help),
       .environment = environment,
       .set = [target](std::string_view value) -> Result<void> {
         *target = value;
         return {};
       }});
}

void FlagSet::add_integer(std::vector<std::string_view> names, std::string help, long long least,
                          long long most, std::function<void(long long)> set,
                          std::string_view environment) {
  const std::string_view name = names.back();
  add({.names = std::move(names),
       .value_name = "N",
       .help = std::move(help),
       .environment = environment,
       .set = [=, set = std::move(set)](std::string_view text) -> Result<void> {
         RESTKV_ASSIGN(const long long value, parse_number<long long>(name, text, least, most));
         set(value);
         return {};
       }});
}

void FlagSet::add_number(std::vector<std::string_view> names, std::string help, double least,
                         double most, std::function<void(double)> set,
                         std::string_view environment) {
  const std::string_view name = names.back();
  add({.names = std::move(names),
       .value_name = "N",
       .help = std::move(help),
       .environment = environment,
       .set = [=, set = std::move(set)](std::string_view text) -> Result<void> {
         RESTKV_ASSIGN(const double value, parse_number<double>(name, text, least, most));
         set(value);
         return {};
       }});
}

Flag switch_flag(std::vector<std::string_view> names, std::string help, std::function<void()> set) {
  return {.names = std::move(names),
          .value_name = "",
          .help = std::move(help),
          .environment = "",
          .set = [set = std::move(set)](std::string_view) -> Result<void> {
            set();
            return {};
          }};
}

void FlagSet::add_switch(std::vector<std::string_view> names, std::string help,
                         std::function<void()> set) {
  add(switch_flag(std::move(names), std::move(help), std::move(set)));
}

void FlagSet::add_switch_pair(Switch yes, Switch no, const std::function<void(bool)>& set,
                              std::string_view environment) {
  add({.names = std::move(yes.names),
       .value_name = "",
       .help = std::move(yes.help),
       .environment = environment,
       .set = [set](std::string_view of_environment) -> Result<void> {
         if (of_environment.empty()) {  // typed
           set(true);
           return {};
         }
         RESTKV_ASSIGN(const bool value, parse_truth(of_environment));
         set(value);
         return {};
       }});
  add_switch(std::move(no.names), std::move(no.help), [set] { set(false); });
}

void FlagSet::add_ignored(std::vector<std::string_view> names, std::string_view value_name,
                          std::string_view reason) {
  std::erase_if(names, [this](std::string_view name) { return find(name) != nullptr; });
  if (names.empty()) return;
  const std::string name(names.back());
  add({.names = std::move(names),
       .value_name = value_name,
       .help = {},
       .environment = "",
       .set = [this, name, reason](std::string_view value) -> Result<void> {
         const bool like_a_flag = value.size() > 1 && value[0] == '-' && !is_digit(value[1]);
         if (like_a_flag) return wrong(name + " needs a value, not '" + std::string(value) + "'");
         notices_.push_back(name + " has no effect: " + std::string(reason));
         return {};
       },
       .kind = Flag::Kind::kIgnored});
}

void FlagSet::add_refused(std::vector<std::string_view> names, std::string_view instead) {
  std::erase_if(names, [this](std::string_view name) { return find(name) != nullptr; });
  if (names.empty()) return;
  const std::string name(names.back());
  add({.names = std::move(names),
       .value_name = "",
       .help = {},
       .environment = "",
       .set = [name, instead](std::string_view) -> Result<void> {
         return wrong(name + " of llama.cpp is not here: " + std::string(instead));
       },
       .kind = Flag::Kind::kRefused});
}

void FlagSet::remove(std::string_view name) {
  const Flag* const flag = find(name);
  RESTKV_CHECK(flag != nullptr);
  const auto at = flag - flags_.data();
  flags_.erase(flags_.begin() + at);
  for (auto& section : sections_) {
    if (section.first > static_cast<std::size_t>(at)) --section.first;
  }
}

Result<void> FlagSet::parse(std::span<const std::string_view> args) {
  std::vector<Typed> typed;
  Result<void> whole = read(args, typed);
  // Help is for those who have something wrong, a variable perhaps.
  if (!is_typed(typed, find("--help"))) RESTKV_TRY(take_environment(typed));
  // A value that is wrong stands before the argument that ended the reading.
  for (const Typed& one : typed) RESTKV_TRY(one.flag->set(one.value));
  return whole;
}

bool FlagSet::is_typed(std::span<const Typed> typed, const Flag* flag) {
  return std::ranges::find(typed, flag, &Typed::flag) != typed.end();
}

Result<void> FlagSet::read(std::span<const std::string_view> args,
                           std::vector<Typed>& typed) const {
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string_view name = args[i];
    std::string_view inline_value;
    const std::size_t equals = name.find('=');
    const bool has_inline = name.starts_with("--") && equals != std::string_view::npos;
    if (has_inline) {
      inline_value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const Flag* flag = find(name);
    if (flag == nullptr)
      return wrong("unknown argument '" + std::string(name) + "'" + nearest(name));
    if (flag->value_name.empty()) {
      if (has_inline && flag->kind != Flag::Kind::kRefused)
        return wrong(std::string(name) + " takes no value");
      typed.push_back({.flag = flag, .value = {}});
      continue;
    }
    if (!has_inline && i + 1 == args.size()) return wrong(std::string(name) + " needs a value");
    typed.push_back({.flag = flag, .value = has_inline ? inline_value : args[++i]});
  }
  return {};
}

Result<void> FlagSet::take_environment(std::span<const Typed> typed) const {
  const auto is_silenced = [&](const Flag& flag) {
    return std::ranges::any_of(typed, [&](const Typed& one) {
      return std::ranges::any_of(one.flag->silences, [&](const Flag::Silenced& silenced) {
        return silenced.value == one.value && find(silenced.flag) == &flag;
      });
    });
  };
  for (const Flag& flag : flags_) {
    if (flag.environment.empty() || is_typed(typed, &flag) || is_silenced(flag)) continue;
    const char* value = std::getenv(std::string(flag.environment).c_str());
    if (value == nullptr || *value == '\0') continue;
    if (auto set = flag.set(value); !set.ok()) {
      return wrong(std::string(flag.environment) + ": " + set.error().message);
    }
  }
  return {};
}

const Flag* FlagSet::find(std::string_view name) const {
  for (const Flag& flag : flags_) {
    if (std::ranges::find(flag.names, name) != flag.names.end()) return &flag;
  }
  return nullptr;
}

std::string FlagSet::nearest(std::string_view name) const {
  std::vector<std::string_view> known;
  for (const Flag& flag : flags_) {
    if (flag.kind == Flag::Kind::kUseful) {
      known.insert(known.end(), flag.names.begin(), flag.names.end());
    }
  }
  const std::string_view best = nearest_word(name, known);
  if (best.empty()) return "; --help lists what there is";
  return "; did you mean " + std::string(best) + "?";
}

std::string FlagSet::help() const {
  std::string text = usage_ + "\n";
  std::string ignored;
  auto section = sections_.begin();
  if (section == sections_.end() || section->first != 0) text += "\n";
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    const Flag& flag = flags_[i];
    if (flag.kind == Flag::Kind::kIgnored) {
      ignored += (ignored.empty() ? "" : ", ") + std::string(flag.names.front());
    }
    if (flag.kind != Flag::Kind::kUseful) continue;
    while (section != sections_.end() && section->first <= i) {
      text += "\n" + std::string(section->second) + ":\n";
      ++section;
    }
    std::string left = "  ";
    for (const std::string_view name : flag.names) {
      left += (left.size() > 2 ? ", " : "") + std::string(name);
    }
    if (!flag.value_name.empty()) left += " " + std::string(flag.value_name);
    std::string words = flag.help;
    if (!flag.environment.empty()) words += " [" + std::string(flag.environment) + "]";
    if (left.size() + 2 > kHelpColumn) {
      text += left + "\n" + std::string(kHelpColumn, ' ');
    } else {
      text += left + std::string(kHelpColumn - left.size(), ' ');
    }
    text += wrapped(words, kHelpColumn) + "\n";
  }
  if (!ignored.empty()) {
    text += "\nOf llama.cpp, accepted without effect:\n  " + wrapped(ignored, 2) + "\n";
  }
  return text;
}

std::string_view nearest_word(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  std::size_t distance = 4;  // three slips at most
  for (const std::string_view one : known) {
    const std::size_t d = edit_distance(word, one);
    if (d < distance && d < one.size()) {
      distance = d;
      best = one;
    }
  }
  return best;
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

}  // namespace restkv
