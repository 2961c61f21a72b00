// Summaries: LongBench's and InfiniteBench's kinds of ROUGE-L.

#include <algorithm>

#include "eval/scorers/rouge_common.h"
#include "eval/scorers/scorer.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

using Compare = Result<double> (*)(std::u32string_view, std::u32string_view);

Result<Score> best_of(const ScoringRequest& request, Compare compare) {
  const auto prediction = code_points(request.prediction);
  Score best;
  for (const std::string& answer : request.answers) {
    RESTKV_ASSIGN(const double value, compare(prediction, code_points(answer)));
    best.value = std::max(best.value, value);
  }
  return best;
}

Result<Score> rouge_l(const ScoringRequest& request) { return best_of(request, rouge_l_of_sets); }
Result<Score> rouge_lsum(const ScoringRequest& request) {
  return best_of(request, rouge_l_of_summaries);
}

constexpr ScorerInfo kScorers[] = {
    {.name = "rouge_l",
     .summary = "ROUGE-L over sets of words, as the Python package rouge 1.0.1",
     .score = rouge_l},
    {.name = "rouge_lsum",
     .summary = "ROUGE-Lsum over lines, as google-research/rouge without a stemmer",
     .score = rouge_lsum},
};

}  // namespace

extern const ScorerFamily rouge_scorers;
constinit const ScorerFamily rouge_scorers{.source = "LongBench and InfiniteBench",
                                           .scorers = kScorers};

}  // namespace restkv
