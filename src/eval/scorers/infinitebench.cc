// InfiniteBench: numbers, keys and names that have to be found.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/quote.h"
#include "eval/scorers/words_common.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

constexpr std::u32string_view kMarks = U"\n:\"'.,?!{}";  // around keys and names
constexpr std::u32string_view kCodeMarks = U"\n.`'\":";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Runs of ASCII digits.
std::vector<std::string_view> numbers_in(std::string_view text) {
  std::vector<std::string_view> runs;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    if (i > begin) runs.push_back(text.substr(begin, i - begin));
    while (i < text.size() && !is_digit(text[i])) ++i;
  }
  return runs;
}

// Whole numbers of any length compare as texts without leading zeros.
std::string_view without_zeros(std::string_view digits) {
  const std::size_t first = digits.find_first_not_of('0');
  return first == std::string_view::npos ? digits.substr(digits.size() - 1) : digits.substr(first);
}

Result<Score> first_integer(const ScoringRequest& request) {
  const auto numbers = numbers_in(request.prediction);
  Score best = best_over_answers(request, [&](std::string_view answer) {
    return !numbers.empty() && numbers.front() == answer ? 1.0 : 0.0;
  });
  best.answered = !numbers.empty();
  return best;
}

Result<Score> word_found(const ScoringRequest& request) {
  const auto blanked = blank_out(code_points(request.prediction), kMarks);
  const auto words = split_at_spaces(blanked);
  return best_over_answers(request, [&](std::string_view answer) {
    return std::ranges::find(words, code_points(answer)) != words.end() ? 1.0 : 0.0;
  });
}

// Only the first answer counts: a name has several words, and the first one is listed first.
Result<Score> name_found(const ScoringRequest& request) {
  const auto blanked = upper_case(blank_out(code_points(request.prediction), kMarks));
  const auto words = split_at_spaces(blanked);
  const bool found = std::ranges::find(words, code_points(request.answers.front())) != words.end();
  return Score{.value = found ? 1.0 : 0.0};
}

// The value of a word such as "-12" without leading zeros; nothing when it is no whole number.
std::optional<std::string> whole_number(std::string_view word) {
  const bool negative = word.starts_with('-');
  if (negative || word.starts_with('+')) word.remove_prefix(1);
  if (word.empty() || !std::ranges::all_of(word, is_digit)) return std::nullopt;
  const std::string_view digits = without_zeros(word);
  return (negative && digits != "0" ? "-" : "") + std::string(digits);
}

Result<Score> last_integer(const ScoringRequest& request) {
  const auto blanked = blank_out(code_points(request.prediction), kCodeMarks);
  const auto words = split_at_spaces(blanked);
  const auto given = words.empty() ? std::nullopt : whole_number(utf8_text(words.back()));
  Score best{.answered = given.has_value()};
  for (const std::string& answer : request.answers) {
    const auto wanted = whole_number(answer);
    if (!wanted) {
      return Error{ErrorCode::kInvalidArgument,
                   "the answer " + restkv::quoted(answer) + " is no whole number"};
    }
    if (given == wanted) best.value = 1;
  }
  return best;
}

// The first number of a text, digits with or without decimals and no sign; nothing when there is
// none, or none that a double holds.
std::optional<double> first_number(std::string_view text) {
  const auto numbers = numbers_in(text);
  if (numbers.empty()) return std::nullopt;
  const char* begin = numbers.front().data();
  const char* end = begin + numbers.front().size();
  const char* const text_end = text.data() + text.size();
  if (text_end - end >= 2 && *end == '.' && is_digit(end[1])) {
    for (++end; end < text_end && is_digit(*end);) ++end;
  }
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

Result<Score> math_find(const ScoringRequest& request) {
  const auto given = first_number(request.prediction);
  Score best{.answered = given.has_value()};
  for (const std::string& answer : request.answers) {
    double wanted = 0;
    const auto [end, error] = std::from_chars(answer.data(), answer.data() + answer.size(), wanted);
    if (error != std::errc() || end != answer.data() + answer.size() || !std::isfinite(wanted)) {
      return Error{ErrorCode::kInvalidArgument,
                   "the answer " + restkv::quoted(answer) + " is no number"};
    }
    // A whole answer is compared with the whole part.
    const bool whole = answer.find('.') == std::string::npos;
    if (given && (whole ? std::trunc(*given) : *given) == wanted) best.value = 1;
  }
  return best;
}

Result<Score> math_calc(const ScoringRequest& request) {
  std::vector<std::string_view> wanted;
  for (const std::string& answer : request.answers) {
    for (const auto number : numbers_in(answer)) wanted.push_back(without_zeros(number));
  }
  if (wanted.empty()) {
    return Error{ErrorCode::kInvalidArgument, "math_calc has no number to compare with"};
  }
  const auto given = numbers_in(request.prediction);
  std::size_t right = 0;
  while (right < std::min(given.size(), wanted.size()) &&
         without_zeros(given[right]) == wanted[right]) {
    ++right;
  }
  return Score{.value = static_cast<double>(right) / static_cast<double>(wanted.size()),
               .answered = !given.empty()};
}

constexpr ScorerInfo kScorers[] = {
    {.name = "first_integer",
     .summary = "1 if the first digits are the answer (passkey, number_string)",
     .score = first_integer},
    {.name = "word_found",
     .summary = "1 if the answer is a word of the prediction (kv_retrieval)",
     .score = word_found},
    {.name = "name_found",
     .summary = "1 if the first answer, in capitals, is a word in any case (longdialogue_qa_eng)",
     .score = name_found},
    {.name = "last_integer",
     .summary = "1 if the last word is the whole number asked for (code_run)",
     .score = last_integer},
    {.name = "math_find",
     .summary = "1 if the first number is the answer, without its sign",
     .score = math_find},
    {.name = "math_calc",
     .summary = "leading numbers that are right over all numbers of all answers, in their order",
     .score = math_calc},
};

}  // namespace

extern const ScorerFamily infinitebench_scorers;
constinit const ScorerFamily infinitebench_scorers{.source = "InfiniteBench", .scorers = kScorers};

}  // namespace restkv
