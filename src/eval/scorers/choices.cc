// InfiniteBench: one of four options. Answers are the option's text (a function's name in
// code_debug) and its letter, in this order.

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "eval/scorers/scorer.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

using Text = std::u32string_view;

std::u32string squeezed(std::u32string text) {
  const auto twice = [](char32_t a, char32_t b) { return a == U' ' && b == U' '; };
  text.erase(std::ranges::unique(text, twice).begin(), text.end());
  return text;
}

// What follows the first of the cues that occurs, without the character behind the cue; nothing
// when none occurs. A cue at the very end gives an empty text.
std::optional<Text> after_cue(Text text, std::span<const Text> cues) {
  for (const Text cue : cues) {
    const std::size_t at = text.find(cue);
    if (at == Text::npos) continue;
    return text.substr(std::min(at + cue.size() + 1, text.size()));
  }
  return std::nullopt;
}

bool begins_with_one(Text text, std::span<const std::u32string> wanted) {
  return std::ranges::any_of(wanted, [&](const auto& answer) { return text.starts_with(answer); });
}

Result<std::array<std::u32string, 2>> option_of(const ScoringRequest& request) {
  const auto& answers = request.answers;
  const bool right = answers.size() == 2 && !answers[0].empty() && answers[1].size() == 1;
  if (!right) {
    return Error{ErrorCode::kInvalidArgument,
                 "a choice is scored against the text of an option and its letter"};
  }
  return std::array{code_points(answers[0]), code_points(answers[1])};
}

bool is_right_choice(Text prediction, std::span<const std::u32string> wanted) {
  constexpr Text kLetters = U"ABCD";
  constexpr std::array<Text, 4> kCues = {U"answer is:", U"answer:", U"answer is", U"option is"};
  const auto is_wanted = [&](Text text) { return std::ranges::find(wanted, text) != wanted.end(); };
  if (prediction.empty()) return false;
  if (kLetters.find(prediction.front()) != Text::npos) return is_wanted(prediction.substr(0, 1));
  if (is_wanted(prediction)) return true;
  const auto text = squeezed(blank_out(prediction, U"\n\"'.,?!{}"));
  if (const auto rest = after_cue(text, kCues)) return begins_with_one(*rest, wanted);
  for (const Text word : split_at_spaces(text)) {
    if (kLetters.find(word) != Text::npos) return is_wanted(word);
  }
  return false;
}

Result<Score> choice(const ScoringRequest& request) {
  RESTKV_ASSIGN(const auto wanted, option_of(request));
  const auto prediction = code_points(request.prediction);
  return Score{.value = is_right_choice(trim(prediction), wanted) ? 1.0 : 0.0};
}

void blank_out_word(std::u32string& text, Text word) {
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    const bool here = Text(text).substr(i).starts_with(word);
    result += here ? U' ' : text[i];
    i += here ? word.size() : 1;
  }
  text = std::move(result);
}

bool is_right_function(Text prediction, std::span<const std::u32string> wanted) {
  constexpr std::array<Text, 3> kCues = {U"answer is:", U"is:", U"answer:"};
  const std::u32string& letter = wanted[1];
  for (const Text mark : {U".", U":"}) {
    if (prediction.starts_with(letter) && prediction.substr(1).starts_with(mark)) return true;
  }
  auto text = blank_out(prediction, U"\n`'\"-*");
  for (const Text word : {U"Option", U"option"}) blank_out_word(text, word);
  const auto plain = squeezed(std::move(text));
  const auto rest = after_cue(plain, kCues);
  return rest && begins_with_one(*rest, wanted);
}

Result<Score> code_debug(const ScoringRequest& request) {
  RESTKV_ASSIGN(const auto wanted, option_of(request));
  const auto prediction = code_points(request.prediction);
  return Score{.value = is_right_function(trim(prediction), wanted) ? 1.0 : 0.0};
}

constexpr ScorerInfo kScorers[] = {
    {.name = "choice",
     .summary = "1 if the option is named by letter or text; answers: text, letter",
     .score = choice},
    {.name = "code_debug",
     .summary = "1 if the function is named as 'A.' or after a cue; answers: name, letter",
     .score = code_debug},
};

}  // namespace

extern const ScorerFamily choices_scorers;
constinit const ScorerFamily choices_scorers{.source = "InfiniteBench", .scorers = kScorers};

}  // namespace restkv
