#include "eval/unicode_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>

namespace restkv {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_letter(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_mark(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

// A capital sigma that ends a word of more than one letter.
bool is_final_sigma(std::u32string_view text, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && is_mark(text[before - 1])) --before;
  std::size_t after = at + 1;
  while (after < text.size() && is_mark(text[after])) ++after;
  return before > 0 && is_letter(text[before - 1]) &&
         (after == text.size() || !is_letter(text[after]));
}

}  // namespace

std::u32string code_points(std::string_view utf8) {
  std::u32string result;
  result.reserve(utf8.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(utf8.data());
  for (std::size_t i = 0; i < utf8.size();) {
    utf8proc_int32_t code = -1;
    const auto length =
        utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(utf8.size() - i), &code);
    result.push_back(length > 0 ? static_cast<char32_t>(code) : kReplacement);
    i += length > 0 ? static_cast<std::size_t>(length) : 1;
  }
  return result;
}

std::string utf8_text(std::u32string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    utf8proc_uint8_t bytes[4];
    const bool valid = utf8proc_codepoint_valid(static_cast<utf8proc_int32_t>(c));
    const auto length =
        utf8proc_encode_char(static_cast<utf8proc_int32_t>(valid ? c : kReplacement), bytes);
    result.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
  }
  return result;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  const auto category = category_of(c);
  return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_word_character(char32_t c) {
  const auto category = category_of(c);
  return c == '_' || is_letter(c) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool is_decimal_digit(char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_ND; }

bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

std::u32string lower_case(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == U'\u0130') {  // the one capital whose lower case is two characters
      result += U"i\u0307";
    } else if (text[i] == U'Σ' && is_final_sigma(text, i)) {
      result += U'ς';
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(text[i])));
    }
  }
  return result;
}

std::u32string upper_case(std::u32string_view text) {
  std::u32string result(text);
  for (char32_t& c : result) {
    c = static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  }
  return result;
}

std::u32string_view trim(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::u32string_view> split_at_spaces(std::u32string_view text) {
  std::vector<std::u32string_view> words;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && !is_space(text[i])) ++i;
    if (i > begin) words.push_back(text.substr(begin, i - begin));
    while (i < text.size() && is_space(text[i])) ++i;
  }
  return words;
}

std::u32string blank_out(std::u32string_view text, std::u32string_view unwanted) {
  std::u32string result(text);
  for (char32_t& c : result) {
    if (unwanted.find(c) != std::u32string_view::npos) c = U' ';
  }
  return result;
}

}  // namespace restkv
