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

// The variances of score_spread(): the first method's minus the second's. Missing where the
// variance is.
struct SpreadDifference {
  std::size_t pairs = 0;
  Interval mean;  // of the cells' means, for comparison
  std::optional<Interval> over_samples;
  std::optional<Interval> over_tasks;
  std::optional<Interval> over_lengths;
};

// Percentile bootstrap of pairs: the samples of a cell are drawn with replacement, the same for
// both methods, and both variances are taken anew. Tasks and lengths are what they are and are not
// drawn: the intervals speak of these tasks. A variance over tasks holds the noise of its samples
// too (ScoreSpread::sampling_noise); where both methods have about as much, the difference does
// not. kInvalidArgument: no pair, a score that is not finite, no resample, confidence outside (0,
// 1), or more than 2^34 draws.
Result<SpreadDifference> spread_difference(std::span<const PairedScore> pairs,
                                           const ResamplingOptions& options);

}  // namespace restkv
