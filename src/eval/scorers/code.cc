// LongBench's similarity of a line of code.

#include <algorithm>
#include <cmath>

#include "eval/scorers/matching_common.h"
#include "eval/scorers/scorer.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

using Ratio = Result<double> (*)(std::u32string_view, std::u32string_view);

// The first line that is neither fenced nor holds a comment; empty when there is none.
std::string_view code_line(std::string_view prediction) {
  prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
  while (!prediction.empty()) {
    const std::size_t end = std::min(prediction.find('\n'), prediction.size());
    const std::string_view line = prediction.substr(0, end);
    if (line.find_first_of("`#") == std::string_view::npos &&
        line.find("//") == std::string_view::npos) {
      return line;
    }
    prediction.remove_prefix(std::min(end + 1, prediction.size()));
  }
  return {};
}

Result<Score> similarity(const ScoringRequest& request, Ratio ratio) {
  const auto line = code_points(code_line(request.prediction));
  Score best{.answered = !line.empty()};
  for (const std::string& answer : request.answers) {
    const auto text = code_points(answer);
    double value = text == line ? 1.0 : 0.0;
    if (text != line && !text.empty() && !line.empty()) {
      RESTKV_ASSIGN(const double alike, ratio(line, text));
      // Whole per cents as fuzzywuzzy gives them; nearbyint() rounds halves to even as Python does.
      value = std::nearbyint(100 * alike) / 100;
    }
    best.value = std::max(best.value, value);
  }
  return best;
}

Result<Score> code_sim(const ScoringRequest& request) { return similarity(request, difflib_ratio); }
Result<Score> code_sim_lcs(const ScoringRequest& request) {
  return similarity(request, subsequence_ratio);
}

constexpr ScorerInfo kScorers[] = {
    {.name = "code_sim",
     .summary = "likeness of the first line of code, as fuzzywuzzy on difflib",
     .score = code_sim},
    {.name = "code_sim_lcs",
     .summary = "likeness of the first line of code, as fuzzywuzzy on python-Levenshtein",
     .score = code_sim_lcs},
};

}  // namespace

extern const ScorerFamily code_scorers;
constinit const ScorerFamily code_scorers{.source = "LongBench", .scorers = kScorers};

}  // namespace restkv
