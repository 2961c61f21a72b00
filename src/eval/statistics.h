#pragma once

// What scores allow us to say: means, spreads, intervals of differences, corrections for many
// comparisons, and how many samples a difference needs. Pure functions: same input, same result, on
// any number of threads.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "restkv/result.h"

namespace restkv {

// REQUIRES: at least one value
[[nodiscard]] double mean(std::span<const double> values);
// With n - 1 below the line; nothing for fewer than two values.
[[nodiscard]] std::optional<double> sample_variance(std::span<const double> values);
// Of an ordered list: linear between the order statistics, 0 = the smallest, 1 = the largest (type
// 7 of Hyndman and Fan 1996). REQUIRES: at least one value; 0 <= share <= 1
[[nodiscard]] double quantile(std::span<const double> sorted, double share);

// Quantile of the standard normal distribution.
// REQUIRES: 0 < probability < 1
[[nodiscard]] double normal_quantile(double probability);

// Scores of two methods on the same prompts, as differences: d[i] = first[i] - second[i].
// kInvalidArgument: lists of different lengths, empty lists, or a score that is not finite.
Result<std::vector<double>> paired_differences(std::span<const double> first,
                                               std::span<const double> second);

// The values with sqrt(n / (n - 1)) of their distance from their mean; a single one as it is. n
// values drawn from n have (n - 1) / n of the sample's variance, a fifth less of 5; values drawn
// from these have all of it (the rescaling bootstrap of Rao and Wu 1988, made for many small
// strata). REQUIRES: at least one value
[[nodiscard]] std::vector<double> far_from_mean(std::span<const double> values);

struct ResamplingOptions {
  std::size_t resamples = 10'000;
  double confidence = 0.95;
  std::uint64_t seed = 42;
  // p-values that are corrected together: the more, the smaller each of them must be able to get.
  std::size_t comparisons = 1;
};

struct Interval {
  double estimate = 0;
  double low = 0;
  double high = 0;
};

// Percentile bootstrap (Efron 1979) of the mean over groups of each group's mean difference. A
// group is a task at one length under one seed; its samples are drawn with replacement within it,
// so that a suite's score weighs its tasks equally, as it is reported. What is drawn are
// differences moved away from their group's mean (see far_from_mean()): without that the interval
// of groups of five would be a tenth too narrow. Groups of one add no width, so an interval of
// nothing but such has none. kInvalidArgument: no group, an empty group, no resample, confidence
// outside (0, 1), or more than 2^34 draws.
Result<Interval> bootstrap_interval(std::span<const std::vector<double>> groups,
                                    const ResamplingOptions& options);

// Two-sided p-value of "the two methods are equally good": signs of differences are flipped (Fisher
// 1935), the statistic is that of bootstrap_interval(). Zeros count for nothing; without any other
// difference p is 1.
// Exact, over all flips, when not more than 2^16 are possible, and when what the differences add to
// the statistic are multiples of one step, not too many of them in sum: scores of 0 and 1 (a sign
// test then), fractions of a few answers. Else flips are drawn, counting the observed one too, so
// that p is never 0: options.resamples, and more where fewer than 100 of them are as extreme, until
// 100 are (Besag and Clifford 1991) or there are 100 for each that 5 % of a comparison's share of
// the family allow, 2000 * options.comparisons. Of many differences fewer are drawn, but not fewer
// than a tenth of that, nor more than 5 million. Errors as above.
Result<double> sign_flip_p_value(std::span<const std::vector<double>> groups,
                                 const ResamplingOptions& options);

// p-values that may be compared with the level itself, in the order given. Holm (1979) bounds the
// chance of any false finding, Benjamini and Hochberg (1995) the expected share of false ones among
// the findings (for independent or positively dependent tests).
// REQUIRES: every p-value in [0, 1]
[[nodiscard]] std::vector<double> holm(std::span<const double> p_values);
[[nodiscard]] std::vector<double> benjamini_hochberg(std::span<const double> p_values);

struct PowerOptions {
  double level = 0.05;  // two-sided
  double power = 0.8;   // the chance to find a difference that is there
};

// Paired samples needed to find a mean difference when single differences have this standard
// deviation: ceil(((z[1 - level / 2] + z[power]) * deviation / difference)^2), at least 2; the
// normal approximation, so a few too small below about 20. For several comparisons divide the level
// by their number. kInvalidArgument: a difference of 0, a negative deviation, values that are not
// finite, or level and power outside (0, 1); kUnsupported: more than 2^53 samples.
Result<std::uint64_t> samples_needed(double difference, double deviation,
                                     const PowerOptions& options);

// The difference that this many paired samples find: the inverse of the above. REQUIRES: samples >
// 0
Result<double> detectable_difference(std::uint64_t samples, double deviation,
                                     const PowerOptions& options);

}  // namespace restkv
