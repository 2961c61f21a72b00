#include "restkv/budget.h"

#include <charconv>
#include <cmath>

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

Result<Budget> Budget::parse(std::string_view text) {
  const auto wrong = [&] {
    return invalid("a budget is a number of tokens or a percentage like 10%, not '" +
                   std::string(text) + "'");
  };
  std::string_view digits = text;
  const bool percent = digits.ends_with('%');
  if (percent) digits.remove_suffix(1);
  double amount = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), amount);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
    return wrong();
  if (!(amount > 0) || !std::isfinite(amount)) return wrong();
  if (percent) {
    if (amount > 100)
      return invalid("a budget of " + std::string(text) + " is more than the prompt");
    return Budget{.unit = Unit::kPercent, .amount = amount};
  }
  if (amount != std::floor(amount) || amount > 1e9) return wrong();
  return Budget{.unit = Unit::kTokens, .amount = amount};
}

std::string Budget::text() const {
  if (unit == Unit::kTokens) return std::to_string(std::llround(amount));
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), amount);
  std::string result(buffer, error == std::errc() ? end : buffer);
  return result + "%";
}

}  // namespace restkv
