// LongBench's scorers of labels and numbers: few-shot classification, retrieval, counting.

#include <algorithm>
#include <vector>

#include "base/quote.h"
#include "eval/scorers/words_common.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

double classification_of(const ScoringRequest& request, std::string_view answer) {
  std::vector<std::string_view> named;
  for (const std::string& label : request.classes) {
    if (holds(request.prediction, label)) named.emplace_back(label);
  }
  // The published loop erases while it walks, so it passes over what stands after an erased label;
  // scores depend on it.
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i] != answer && holds(answer, named[i])) {
      named.erase(named.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  const bool right = std::ranges::find(named, answer) != named.end();
  return right ? 1.0 / static_cast<double>(named.size()) : 0.0;
}

Result<Score> classification(const ScoringRequest& request) {
  if (request.classes.empty()) {
    return Error{ErrorCode::kInvalidArgument, "classification needs the data set's labels"};
  }
  return best_over_answers(
      request, [&](std::string_view answer) { return classification_of(request, answer); });
}

std::vector<std::u32string> digit_runs(std::u32string_view text) {
  std::vector<std::u32string> runs;
  bool inside = false;
  for (const char32_t c : text) {
    if (!is_decimal_digit(c)) {
      inside = false;
      continue;
    }
    if (!inside) runs.emplace_back();
    inside = true;
    runs.back().push_back(c);
  }
  return runs;
}

// The share of the numbers in the prediction that are the wanted one, compared as texts.
double share_of(std::span<const std::u32string> numbers, std::u32string_view wanted) {
  if (numbers.empty()) return 0;
  return static_cast<double>(std::ranges::count(numbers, wanted)) /
         static_cast<double>(numbers.size());
}

// `cue`: what stands before the number of the paragraph in the answer.
Result<Score> retrieval_after(const ScoringRequest& request, std::u32string_view cue) {
  const auto numbers = digit_runs(code_points(request.prediction));
  Score best{.answered = !numbers.empty()};
  for (const std::string& answer : request.answers) {
    const auto text = code_points(answer);
    std::size_t begin = text.find(cue);
    std::size_t end = begin;
    for (; begin != std::u32string::npos; begin = text.find(cue, begin)) {
      begin += cue.size();
      for (end = begin; end < text.size() && is_decimal_digit(text[end]);) ++end;
      if (end > begin) break;
    }
    if (begin == std::u32string::npos) {
      return Error{ErrorCode::kInvalidArgument,
                   "the answer " + restkv::quoted(answer) + " names no paragraph"};
    }
    const auto wanted = std::u32string_view(text).substr(begin, end - begin);
    best.value = std::max(best.value, share_of(numbers, wanted));
  }
  return best;
}

Result<Score> retrieval(const ScoringRequest& request) {
  return retrieval_after(request, U"Paragraph ");
}
Result<Score> retrieval_zh(const ScoringRequest& request) {
  return retrieval_after(request, U"段落");
}

Result<Score> count(const ScoringRequest& request) {
  const auto numbers = digit_runs(code_points(request.prediction));
  for (const std::string& answer : request.answers) {
    const auto text = code_points(answer);
    if (!text.empty() && std::ranges::all_of(text, is_decimal_digit)) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "the answer " + restkv::quoted(answer) + " is no number"};
  }
  Score best = best_over_answers(
      request, [&](std::string_view answer) { return share_of(numbers, code_points(answer)); });
  best.answered = !numbers.empty();
  return best;
}

constexpr ScorerInfo kScorers[] = {
    {.name = "classification",
     .summary = "1 / the number of labels in the prediction, if the right one is among them",
     .score = classification},
    {.name = "retrieval",
     .summary = "share of the numbers that are the one of the answer 'Paragraph N'",
     .score = retrieval},
    {.name = "retrieval_zh",
     .summary = "share of the numbers that are the one of the answer '段落N'",
     .score = retrieval_zh},
    {.name = "count",
     .summary = "share of the numbers in the prediction that are the answer",
     .score = count},
};

}  // namespace

extern const ScorerFamily labels_scorers;
constinit const ScorerFamily labels_scorers{.source = "LongBench", .scorers = kScorers};

}  // namespace restkv
