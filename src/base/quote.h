#pragma once

// Text from outside in a message of one line.

#include <string>
#include <string_view>

namespace restkv {

// 'text': bytes that are not printable ASCII become '?', and what is longer than 80 bytes is cut.
[[nodiscard]] inline std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kMost)) out += c >= 0x20 && c <= 0x7e ? c : '?';
  return out + (text.size() > kMost ? "...'" : "'");
}

}  // namespace restkv
