#include "eval/score_spread.h"

#include <map>
#include <tuple>
#include <vector>

#include "eval/statistics.h"

namespace restkv {
namespace {

struct CellKey {
  std::string task;
  std::size_t length = 0;
  std::uint64_t seed = 0;
  friend auto operator<=>(const CellKey&, const CellKey&) = default;
};

using Cells = std::map<CellKey, std::vector<double>>;

Cells cells_of(std::span<const ScoredSample> samples) {
  Cells cells;
  for (const ScoredSample& sample : samples) {
    cells[{sample.task, sample.length, sample.seed}].push_back(sample.score);
  }
  return cells;
}

std::optional<double> mean_if_any(const std::vector<double>& values) {
  return values.empty() ? std::nullopt : std::optional(mean(values));
}

// The variance of cell means within groups of cells whose keys agree after `forget`, averaged.
template <typename Forget>
std::optional<double> variance_over(const Cells& cells, Forget forget) {
  std::map<CellKey, std::vector<double>> groups;
  for (const auto& [key, scores] : cells) {
    CellKey group = key;
    forget(group);
    groups[group].push_back(mean(scores));
  }
  std::vector<double> variances;
  for (const auto& [key, means] : groups) {
    if (const auto variance = sample_variance(means)) variances.push_back(*variance);
  }
  return mean_if_any(variances);
}

}  // namespace

ScoreSpread score_spread(std::span<const ScoredSample> samples) {
  const Cells cells = cells_of(samples);
  std::vector<double> within;
  std::vector<double> noise;
  for (const auto& [key, scores] : cells) {
    if (const auto variance = sample_variance(scores)) {
      within.push_back(*variance);
      noise.push_back(*variance / static_cast<double>(scores.size()));
    }
  }
  return {.over_samples = mean_if_any(within),
          .over_tasks = variance_over(cells, [](CellKey& key) { key.task.clear(); }),
          .over_lengths = variance_over(cells, [](CellKey& key) { key.length = 0; }),
          .over_seeds = variance_over(cells, [](CellKey& key) { key.seed = 0; }),
          .sampling_noise = mean_if_any(noise)};
}

std::optional<double> mean_of_cells(std::span<const ScoredSample> samples) {
  std::vector<double> means;
  for (const auto& [key, scores] : cells_of(samples)) means.push_back(mean(scores));
  return mean_if_any(means);
}

}  // namespace restkv
