// GSM8K and MultiArith: the number at the end of a chain of thought.

#include <algorithm>

#include "base/quote.h"
#include "eval/scorers/final_number_common.h"
#include "eval/scorers/scorer.h"

namespace restkv {
namespace {

using Number = std::optional<std::string>;

// 1 if the extracted number and an answer are the same decimal. An answer may be a number or a
// whole solution that ends in GSM8K's mark.
Result<Score> compared(const ScoringRequest& request, const Number& extracted) {
  const Number given = extracted ? plain_decimal(*extracted) : std::nullopt;
  Score best{.answered = given.has_value()};
  for (const std::string& answer : request.answers) {
    const Number wanted = plain_decimal(marked_number(answer).value_or(answer));
    if (!wanted) {
      return Error{ErrorCode::kInvalidArgument,
                   "the answer " + restkv::quoted(answer) + " is no number"};
    }
    if (given == wanted) best.value = 1;
  }
  return best;
}

Result<Score> number(const ScoringRequest& request) {
  // Rows are compared by this score: what counts as closed stays what it was for all of them. Where
  // TeX stands around the number, the last one is the same unless more numbers follow.
  Number found = closing_number(request.prediction, Between::kPlain);
  if (!found) found = last_number(request.prediction);
  return compared(request, found);
}

Result<Score> number_strict(const ScoringRequest& request) {
  return compared(request, closing_number(request.prediction, Between::kTex));
}

Result<Score> number_flexible(const ScoringRequest& request) {
  return compared(request, last_number(request.prediction));
}

// Texts are compared, not values: 3.0 is not 3.
Result<Score> number_marked(const ScoringRequest& request) {
  const Number given = marked_number(request.prediction);
  Score best{.answered = given.has_value()};
  for (const std::string& answer : request.answers) {
    std::string wanted = marked_number(answer).value_or(answer);
    std::erase(wanted, ',');
    if (given == wanted) best.value = 1;
  }
  return best;
}

constexpr ScorerInfo kScorers[] = {
    {.name = "number",
     .summary = "1 if the number after the closing phrase, or else the last one, is the answer",
     .score = number},
    {.name = "number_strict",
     .summary = "1 if the number after the closing phrase ('answer is', ####) is the answer",
     .score = number_strict},
    {.name = "number_flexible",
     .summary = "1 if the last number is the answer, as lm-evaluation-harness finds it",
     .score = number_flexible},
    {.name = "number_marked",
     .summary = "1 if the number after '#### ' is the answer, letter by letter, as GSM8K has it",
     .score = number_marked},
};

}  // namespace

extern const ScorerFamily numbers_scorers;
constinit const ScorerFamily numbers_scorers{
    .source = "openai/grade-school-math and lm-evaluation-harness", .scorers = kScorers};

}  // namespace restkv
