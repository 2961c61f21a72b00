#include <algorithm>

#include "eval/scorers/final_number_common.h"

namespace restkv {
namespace {

constexpr std::string_view kBetween = " \t\n\r$:*";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_numeric(char c) { return is_digit(c) || c == '.' || c == ','; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void erase_any(std::string& text, std::string_view unwanted) {
  std::erase_if(text, [&](char c) { return unwanted.find(c) != std::string_view::npos; });
}

// [begin, end) of digits, '.' and ',' at `begin`, with a minus before them or not; empty without
// one.
std::string_view number_at(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  if (end < text.size() && text[end] == '-') ++end;
  const std::size_t first = end;
  while (end < text.size() && is_numeric(text[end])) ++end;
  return end > first ? text.substr(begin, end - begin) : std::string_view();
}

// Where the first closing phrase at or after `from` ends; npos when there is none.
std::size_t phrase_end(std::string_view text, std::size_t from) {
  constexpr std::string_view kMark = "####";
  constexpr std::string_view kPhrase = "answer is";
  const std::size_t mark = text.find(kMark, from);
  const auto rest = text.substr(std::min(from, text.size()));
  const auto found = std::ranges::search(rest, kPhrase, {}, lower);
  const std::size_t phrase = found.empty()
                                 ? std::string_view::npos
                                 : from + static_cast<std::size_t>(found.begin() - rest.begin());
  if (mark < phrase) return mark + kMark.size();
  return phrase == std::string_view::npos ? phrase : phrase + kPhrase.size();
}

// Where what may stand between a phrase and its number ends; npos at the end of the text.
std::size_t number_begin(std::string_view text, std::size_t from, Between between) {
  constexpr std::string_view kTex[] = {"\\(", "\\[", "\\boxed{", "\\$"};
  std::size_t at = text.find_first_not_of(kBetween, from);
  while (at != std::string_view::npos && between == Between::kTex) {
    const auto* const mark = std::ranges::find_if(
        kTex, [&](std::string_view tex) { return text.substr(at).starts_with(tex); });
    if (mark == std::end(kTex)) break;
    at = text.find_first_not_of(kBetween, at + mark->size());
  }
  return at;
}

}  // namespace

std::optional<std::string> marked_number(std::string_view text) {
  constexpr std::string_view kMark = "#### ";
  for (std::size_t at = text.find(kMark); at != std::string_view::npos;
       at = text.find(kMark, at + 1)) {
    std::string number(number_at(text, at + kMark.size()));
    if (number.empty()) continue;
    erase_any(number, ",");
    return number;
  }
  return std::nullopt;
}

std::optional<std::string> closing_number(std::string_view text, Between between) {
  std::size_t at = phrase_end(text, 0);
  for (; at != std::string_view::npos; at = phrase_end(text, at)) {
    const std::size_t begin = number_begin(text, at, between);
    if (begin == std::string_view::npos) return std::nullopt;
    std::string number(number_at(text, begin));
    // "-$5" as people write it.
    if (text.substr(begin).starts_with("-$"))
      number = "-" + std::string(number_at(text, begin + 2));
    while (!number.empty() && !is_digit(number.back())) number.pop_back();
    if (!number.empty()) return number;
  }
  return std::nullopt;
}

std::optional<std::string> last_number(std::string_view text) {
  std::optional<std::string_view> last;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    const std::size_t first = text[i] == '-' ? i + 1 : i;
    std::size_t end = first;
    while (end < text.size() && (is_numeric(text[end]) || text[end] == '$')) ++end;
    const bool long_enough = end - first >= 2;
    const bool one_digit = end - first == 1 && is_digit(text[first]);
    if (long_enough || one_digit) {
      last = text.substr(begin, end - begin);
      i = end;
    } else {
      ++i;
    }
  }
  if (!last) return std::nullopt;
  std::string number(*last);
  erase_any(number, "$,");
  if (number.ends_with('.')) number.pop_back();
  return number;
}

std::optional<std::string> plain_decimal(std::string_view text) {
  std::string number(text);
  erase_any(number, "$,% \t\n\r");
  while (number.ends_with('.')) number.pop_back();
  const bool negative = number.starts_with('-');
  if (negative || number.starts_with('+')) number.erase(0, 1);
  const std::size_t point = std::min(number.find('.'), number.size());
  std::string whole = number.substr(0, point);
  std::string fraction = point < number.size() ? number.substr(point + 1) : "";
  if (whole.empty() && fraction.empty()) return std::nullopt;
  if (!std::ranges::all_of(whole + fraction, is_digit)) return std::nullopt;
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (whole.empty()) whole = "0";
  std::string result = fraction.empty() ? whole : whole + "." + fraction;
  return negative && result != "0" ? "-" + result : result;
}

}  // namespace restkv
