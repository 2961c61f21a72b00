#pragma once

// Whether the scores of one method spread more than those of another, with the doubt of it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "eval/statistics.h"
#include "restkv/result.h"

namespace restkv {

// Two methods on one prompt.
struct PairedScore {
  std::string task;
  std::size_t length = 0;
  std::uint64_t seed = 0;
  double first = 0;
  double second = 0;
};

// With the two-sided p-value of "there is no difference".
struct TestedInterval : Interval {
  double p = 1;
};

// The variances of score_spread(): the first method's minus the second's. Missing where the
// variance is.
struct SpreadDifference {
  std::size_t pairs = 0;
  TestedInterval mean;  // of the cells' means, for comparison
  std::optional<TestedInterval> over_samples;
  std::optional<TestedInterval> over_tasks;
  std::optional<TestedInterval> over_lengths;
  std::optional<TestedInterval> over_seeds;
};

// Percentile bootstrap of pairs: the samples of a cell are drawn with replacement, the same for
// both methods, and both variances are taken anew. Tasks, lengths and seeds are what they are and
// are not drawn: the intervals speak of these tasks.
// What is drawn from are the scores of a cell as far_from_mean() has them, for the variances within
// cells as for their means. The means of a draw have the samples' noise a second time, so a
// variance over tasks, lengths or seeds has it taken off once: the draws lie around the estimate.
// A variance over tasks holds the noise of its samples too (ScoreSpread::sampling_noise); where
// both methods have about as much, the difference does not.
// p of a variance: the share of draws that are at least as far from the estimate as the estimate is
// from 0, with options.resamples draws or 200 * options.comparisons if that is more; 1 where the
// draws do not vary, for they tell nothing then. Scores that change places within their pairs would
// be no test of it: methods of unlike means and one variance would often be told apart. Cells of 5
// are few all the same: with scores of 0 and 1 that are nearly always alike, p is below 0.05 up to
// twice as often as it should be. p of the mean: sign_flip_p_value().
// kInvalidArgument: no pair, a score that is not finite, no resample, confidence outside (0, 1), or
// more than 2^34 draws.
Result<SpreadDifference> spread_difference(std::span<const PairedScore> pairs,
                                           const ResamplingOptions& options);

}  // namespace restkv
