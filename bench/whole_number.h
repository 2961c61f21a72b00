#pragma once

// Whole numbers as the programs that take no flags are given them.

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace restkv {

// Nothing where the text is not one, with nothing behind it, or it is outside [least, most].
inline std::optional<int> whole_number(std::string_view text, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < least || value > most) return std::nullopt;
  return value;
}

}  // namespace restkv
