// RULER: which of the answers occur in the prediction, whatever the case. And the recall of a
// needle.

#include <algorithm>
#include <set>

#include "eval/scorers/words_common.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

// Control characters count as line feeds and do not stand at an end.
std::u32string plain(std::string_view prediction) {
  std::u32string text(trim(code_points(prediction)));
  for (char32_t& c : text) {
    if (c < 0x20) c = U'\n';
  }
  return lower_case(trim(text));
}

std::size_t answers_in(const ScoringRequest& request) {
  const auto prediction = plain(request.prediction);
  return static_cast<std::size_t>(
      std::ranges::count_if(request.answers, [&](const std::string& answer) {
        return prediction.find(lower_case(code_points(answer))) != std::u32string::npos;
      }));
}

Result<Score> string_match_all(const ScoringRequest& request) {
  return Score{.value = static_cast<double>(answers_in(request)) /
                        static_cast<double>(request.answers.size())};
}

Result<Score> string_match_part(const ScoringRequest& request) {
  return Score{.value = answers_in(request) > 0 ? 1.0 : 0.0};
}

std::set<std::u32string> lower_words(std::string_view text) {
  const auto lowered = lower_case(code_points(text));
  const auto words = split_at_spaces(lowered);
  return {words.begin(), words.end()};
}

Result<Score> needle_recall(const ScoringRequest& request) {
  const auto predicted = lower_words(request.prediction);
  return best_over_answers(request, [&](std::string_view answer) {
    const auto wanted = lower_words(answer);
    const auto found = std::ranges::count_if(
        wanted, [&](const std::u32string& word) { return predicted.contains(word); });
    return wanted.empty() ? 0.0 : static_cast<double>(found) / static_cast<double>(wanted.size());
  });
}

constexpr ScorerInfo kScorers[] = {
    {.name = "string_match_all",
     .summary = "share of the answers that occur in the prediction, in any case of letters",
     .score = string_match_all},
    {.name = "string_match_part",
     .summary = "1 if any answer occurs in the prediction, in any case of letters",
     .score = string_match_part},
    {.name = "needle_recall",
     .summary = "share of the needle's different words, punctuation kept, in the prediction",
     .score = needle_recall},
};

}  // namespace

extern const ScorerFamily ruler_scorers;
constinit const ScorerFamily ruler_scorers{.source = "RULER and Needle-in-a-Haystack",
                                           .scorers = kScorers};

}  // namespace restkv
