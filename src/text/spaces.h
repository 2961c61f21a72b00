#pragma once

// White space as isspace() knows it in the C locale.

#include <algorithm>
#include <cctype>
#include <string_view>

namespace restkv {

[[nodiscard]] inline bool is_space(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}
[[nodiscard]] inline bool is_blank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), is_space);
}

}  // namespace restkv
