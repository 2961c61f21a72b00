#include "cli/number_lists.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "base/quote.h"
#include "cli/flags.h"

namespace restkv {
namespace {

constexpr std::size_t kMostNumbers = 10000;

struct Range {
  long long first = 0;
  long long last = 0;
  char operation = '+';
  long long step = 1;
};

// Takes a whole number without a sign off the front of `text`.
std::optional<long long> take_number(std::string_view& text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// first[-last[(+|*)step]]
std::optional<Range> parse_range(std::string_view text) {
  Range range;
  const auto first = take_number(text);
  if (!first) return std::nullopt;
  range.first = range.last = *first;
  if (text.empty()) return range;
  if (text.front() != '-') return std::nullopt;
  text.remove_prefix(1);
  const auto last = take_number(text);
  if (!last) return std::nullopt;
  range.last = *last;
  if (text.empty()) return range;
  range.operation = text.front();
  if (range.operation != '+' && range.operation != '*') return std::nullopt;
  text.remove_prefix(1);
  const auto step = take_number(text);
  if (!step || !text.empty()) return std::nullopt;
  range.step = *step;
  return range;
}

}  // namespace

Result<std::vector<long long>> parse_number_list(std::string_view flag, std::string_view text,
                                                 long long least, long long most) {
  const auto wrong = [&](const std::string& what) {
    return Error{ErrorCode::kInvalidArgument, std::string(flag) + " " + what};
  };
  std::vector<long long> numbers;
  for (const std::string& part : split_list(text)) {
    const auto range = parse_range(part);
    if (!range) {
      return wrong("takes numbers and ranges like 512,2048 or 1-4 or 1-9+2 or 8-64*2, not " +
                   quoted(text));
    }
    if (range->first < least || range->last > most || range->first > most) {
      return wrong("takes numbers from " + std::to_string(least) + " to " + std::to_string(most) +
                   ", not " + quoted(part));
    }
    if (range->last < range->first) return wrong(quoted(part) + " runs from high to low");
    const bool grows =
        range->operation == '+' ? range->step > 0 : range->step > 1 && range->first > 0;
    if (!grows) return wrong(quoted(part) + " never gets to its end");
    for (long long i = range->first; i <= range->last;) {
      if (numbers.size() == kMostNumbers) {
        return wrong("has more than " + std::to_string(kMostNumbers) + " numbers");
      }
      numbers.push_back(i);
      if (i > range->last / (range->operation == '*' ? range->step : 1)) break;
      i = range->operation == '*' ? i * range->step : i + std::min(range->step, most + 1 - i);
    }
  }
  return numbers;
}

Result<std::vector<Budget>> parse_budget_list(std::string_view flag, std::string_view text) {
  constexpr long long kMostTokens = 1'000'000'000;  // as Budget::parse()
  std::vector<Budget> budgets;
  for (const std::string& part : split_list(text)) {
    const std::size_t dash = part.find('-');
    const bool range = dash != std::string::npos && dash > 0 && !part.ends_with('%');
    if (!range) {
      RESTKV_ASSIGN(const Budget budget, Budget::parse(part));
      budgets.push_back(budget);
      continue;
    }
    RESTKV_ASSIGN(const auto numbers, parse_number_list(flag, part, 1, kMostTokens));
    for (const long long tokens : numbers) {
      budgets.push_back({.unit = Budget::Unit::kTokens, .amount = static_cast<double>(tokens)});
    }
  }
  return budgets;
}

Result<std::pair<long long, long long>> parse_number_pair(std::string_view flag,
                                                          std::string_view text, long long most) {
  const Error wrong{ErrorCode::kInvalidArgument,
                    std::string(flag) + " takes two numbers like 512,128, each from 0 to " +
                        std::to_string(most) + ", not " + quoted(text)};
  const auto first = take_number(text);
  if (!first || *first > most || !text.starts_with(',')) return wrong;
  text.remove_prefix(1);
  const auto second = take_number(text);
  if (!second || *second > most || !text.empty()) return wrong;
  return std::pair{*first, *second};
}

}  // namespace restkv
