#pragma once

// printf's patterns into strings.

#include <cstddef>
#include <cstdio>
#include <string>

namespace restkv {

// The text, however long. REQUIRES: values as printf takes them for the pattern.
template <typename... Values>
std::string format(const char* pattern, Values... values) {
  const int length = std::snprintf(nullptr, 0, pattern, values...);
  if (length <= 0) return {};
  std::string text(static_cast<std::size_t>(length), '\0');
  std::snprintf(text.data(), text.size() + 1, pattern, values...);
  return text;
}

}  // namespace restkv
