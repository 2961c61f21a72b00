// Answers compared as words: SQuAD's exact match, and the F1 of LongBench and InfiniteBench.

#include "eval/scorers/words_common.h"

namespace restkv {
namespace {

Result<Score> exact_match(const ScoringRequest& request) {
  const auto prediction = normal_words(request.prediction);
  return best_over_answers(request, [&](std::string_view answer) {
    return normal_words(answer) == prediction ? 1.0 : 0.0;
  });
}

Result<Score> qa_f1(const ScoringRequest& request) {
  const auto prediction = normal_words(request.prediction);
  return best_over_answers(request, [&](std::string_view answer) {
    return multiset_f1(prediction, normal_words(answer));
  });
}

constexpr ScorerInfo kScorers[] = {
    {.name = "exact_match",
     .summary = "1 if the same words remain without case, punctuation and articles",
     .score = exact_match},
    {.name = "qa_f1",
     .summary = "F1 of the words without case, punctuation and articles",
     .score = qa_f1},
};

}  // namespace

extern const ScorerFamily words_scorers;
constinit const ScorerFamily words_scorers{.source = "SQuAD and LongBench", .scorers = kScorers};

}  // namespace restkv
