#include "eval/number_scores.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/score_spread.h"
#include "eval/scorers/scorer.h"

namespace restkv {
namespace {

std::optional<std::vector<std::string>> texts_of(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_array()) return std::nullopt;
  std::vector<std::string> texts;
  for (const auto& entry : parsed) {
    if (!entry.is_string()) return std::nullopt;
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

Result<double> score_by(std::string_view scorer, const ScoringRequest& request) {
  RESTKV_ASSIGN(const ScorerInfo* info, find_scorer(scorer));
  RESTKV_ASSIGN(const Score found, score(*info, request));
  return found.value;
}

bool sums_up(const SummaryEntry& entry, const EvalRow& row) {
  if (entry.model != row.model || entry.variant != row.variant) return false;
  switch (entry.level) {
    case SummaryLevel::kTask: return entry.name == row.task && entry.length == row.length;
    case SummaryLevel::kCategory: return entry.name == row.suite + "/" + row.category;
    case SummaryLevel::kLength: return entry.name == row.suite && entry.length == row.length;
    case SummaryLevel::kSuite: return entry.name == row.suite;
  }
  return false;
}

}  // namespace

std::optional<NumberScores> number_scores(const EvalRow& row) {
  if (row.metric != "number") return std::nullopt;
  const auto answers = texts_of(row.answers);
  if (!answers) return std::nullopt;
  const ScoringRequest request{.prediction = row.prediction, .answers = *answers};
  const auto strict = score_by("number_strict", request);
  const auto flexible = score_by("number_flexible", request);
  if (!strict.ok() || !flexible.ok()) return std::nullopt;
  return NumberScores{.strict = *strict, .flexible = *flexible};
}

std::optional<NumberScores> mean_number_scores(std::span<const EvalRow> rows,
                                               const SummaryEntry& entry) {
  std::vector<ScoredSample> strict;
  std::vector<ScoredSample> flexible;
  for (const EvalRow& row : rows) {
    if (!sums_up(entry, row)) continue;
    const auto scores = number_scores(row);
    if (!scores) return std::nullopt;
    ScoredSample sample{.task = row.task,
                        .length = static_cast<std::size_t>(row.length),
                        .seed = static_cast<std::uint64_t>(row.seed),
                        .score = scores->strict};
    strict.push_back(sample);
    sample.score = scores->flexible;
    flexible.push_back(std::move(sample));
  }
  if (strict.empty()) return std::nullopt;
  return NumberScores{.strict = *mean_of_cells(strict), .flexible = *mean_of_cells(flexible)};
}

}  // namespace restkv
