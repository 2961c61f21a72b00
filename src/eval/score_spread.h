#pragma once

// How scores of one method spread: over samples, tasks, lengths and seeds, each a number of its
// own.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace restkv {

// One score of one method.
struct ScoredSample {
  std::string task;
  std::size_t length = 0;  // tokens; 0 where a task has no lengths
  std::uint64_t seed = 0;
  double score = 0;
};

// A cell is everything of one task, length and seed; its score is the mean of its samples. Every
// variance has n - 1 below the line and is averaged, unweighted, over the groups that have at least
// two members; it is missing where there is no such group.
struct ScoreSpread {
  // Of the scores within a cell, averaged over cells.
  std::optional<double> over_samples;
  // Of the cells of one length and seed over the tasks, averaged over (length, seed). And so on.
  std::optional<double> over_tasks;
  std::optional<double> over_lengths;  // groups: (task, seed)
  std::optional<double> over_seeds;    // groups: (task, length)
  // What the samples alone add to each of the last three: the mean over cells of the variance
  // within the cell over its size. A variance over tasks, lengths or seeds that is not well above
  // it says nothing about tasks, lengths or seeds. Missing with over_samples.
  std::optional<double> sampling_noise;
};

// Scores in any order; the result depends on it only by rounding. REQUIRES: finite scores
[[nodiscard]] ScoreSpread score_spread(std::span<const ScoredSample> samples);

// Unweighted mean over the cells: tasks, lengths and seeds count equally however many samples each
// has. Nothing without a sample.
[[nodiscard]] std::optional<double> mean_of_cells(std::span<const ScoredSample> samples);

}  // namespace restkv
