#include "eval/answer_check.h"

#include <string>

#include "base/quote.h"
#include "eval/scorers/scorer.h"

namespace restkv {

Result<void> check_answers(const TaskSample& sample, const JsonRecord& row,
                           std::string_view field) {
  RESTKV_ASSIGN(const ScorerInfo* scorer, find_scorer(sample.metric));
  if (scorer->needs_chinese_words) return {};
  // Scorers look at every answer before they compare; an empty prediction costs nothing.
  const auto scored = score(*scorer, {.answers = sample.answers, .classes = sample.classes});
  if (scored.ok()) return {};
  return row.wrong("field " + quoted(field) + ": " + scored.error().message);
}

}  // namespace restkv
