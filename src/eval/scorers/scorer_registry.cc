#include <algorithm>

#include "eval/scorers/scorer.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

Result<const ScorerInfo*> find_scorer(std::string_view name) {
  std::string known;
  for (const ScorerFamily* family : all_scorer_families()) {
    for (const ScorerInfo& scorer : family->scorers) {
      if (scorer.name == name) return &scorer;
      known += (known.empty() ? "" : ", ") + std::string(scorer.name);
    }
  }
  return invalid("there is no scorer '" + std::string(name) + "' (known: " + known + ")");
}

Result<Score> score(const ScorerInfo& scorer, const ScoringRequest& request) {
  if (request.answers.empty()) {
    return invalid(std::string(scorer.name) + " has no answer to compare with");
  }
  if (scorer.needs_chinese_words && request.chinese_words == nullptr) {
    return Error{ErrorCode::kNotFound, std::string(scorer.name) +
                                           " needs the Chinese words of the Debian package "
                                           "python3-jieba"};
  }
  RESTKV_ASSIGN(Score result, scorer.score(request));
  if (std::ranges::all_of(code_points(request.prediction), is_space)) result.answered = false;
  return result;
}

std::string_view first_answer_line(std::string_view prediction) {
  prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
  return prediction.substr(0, prediction.find('\n'));
}

}  // namespace restkv
