#pragma once

// Text as a sequence of characters, for code that compares texts as Python's str does. All
// functions take any bytes, are deterministic and may be called by several threads at once.

#include <string>
#include <string_view>
#include <vector>

namespace restkv {

// One code point each. A byte that begins no valid character becomes U+FFFD.
[[nodiscard]] std::u32string code_points(std::string_view utf8);
[[nodiscard]] std::string utf8_text(std::u32string_view text);

// As Python's str.isspace(), for one character.
[[nodiscard]] bool is_space(char32_t c);
// Part of a word for \b and \w of Python's re: a letter, any kind of number, or '_'.
[[nodiscard]] bool is_word_character(char32_t c);
// A decimal digit of any script: \d of Python's re.
[[nodiscard]] bool is_decimal_digit(char32_t c);
// One of the 32 of ASCII.
[[nodiscard]] bool is_ascii_punctuation(char32_t c);

// Unicode lower case as of Python's str.lower(). What counts as the end of a word, for the final
// sigma of Greek, is simplified: letters and marks only.
[[nodiscard]] std::u32string lower_case(std::u32string_view text);

// Upper case character by character: 'ß' stays.
[[nodiscard]] std::u32string upper_case(std::u32string_view text);

// Views into `text`, which must outlive them.
[[nodiscard]] std::u32string_view trim(std::u32string_view text);
[[nodiscard]] std::vector<std::u32string_view> split_at_spaces(std::u32string_view text);

// Every character that is in `unwanted` becomes a space.
[[nodiscard]] std::u32string blank_out(std::u32string_view text, std::u32string_view unwanted);

}  // namespace restkv
