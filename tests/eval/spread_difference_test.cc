#include "eval/spread_difference.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

#include "eval/score_spread.h"

namespace restkv {
namespace {

// 3 tasks x 2 lengths x `samples`, with scores by draw(task, length, which).
template <typename Draw>
std::vector<PairedScore> pairs_of(std::size_t samples, Draw draw) {
  std::vector<PairedScore> pairs;
  for (int task = 0; task < 3; ++task) {
    for (const std::size_t length : {1024, 2048}) {
      for (std::size_t i = 0; i < samples; ++i) {
        pairs.push_back({.task = "t" + std::to_string(task),
                         .length = length,
                         .seed = 42,
                         .first = draw(task, length, 0),
                         .second = draw(task, length, 1)});
      }
    }
  }
  return pairs;
}

std::vector<ScoredSample> method(const std::vector<PairedScore>& pairs, bool first) {
  std::vector<ScoredSample> samples;
  for (const PairedScore& pair : pairs) {
    samples.push_back({.task = pair.task,
                       .length = pair.length,
                       .seed = pair.seed,
                       .score = first ? pair.first : pair.second});
  }
  return samples;
}

TEST(SpreadDifference, EstimatesAreTheDifferencesOfTheSpreads) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> score(0, 1);
  auto pairs = pairs_of(14, [&](int task, std::size_t, int which) {
    return which == 0 ? score(random) * task : score(random);
  });
  for (std::size_t i = 0; i < pairs.size(); i += 2) pairs[i].seed = 43;
  const auto found = spread_difference(pairs, {.resamples = 200}).value();
  const ScoreSpread a = score_spread(method(pairs, true));
  const ScoreSpread b = score_spread(method(pairs, false));
  EXPECT_EQ(found.pairs, pairs.size());
  EXPECT_NEAR(found.over_samples->estimate, *a.over_samples - *b.over_samples, 1e-12);
  EXPECT_NEAR(found.over_tasks->estimate, *a.over_tasks - *b.over_tasks, 1e-12);
  EXPECT_NEAR(found.over_lengths->estimate, *a.over_lengths - *b.over_lengths, 1e-12);
  EXPECT_NEAR(found.mean.estimate,
              *mean_of_cells(method(pairs, true)) - *mean_of_cells(method(pairs, false)), 1e-12);
  EXPECT_NEAR(found.over_seeds->estimate, *a.over_seeds - *b.over_seeds, 1e-12);
  for (const TestedInterval& interval : {*found.over_samples, *found.over_tasks,
                                         *found.over_lengths, *found.over_seeds, found.mean}) {
    EXPECT_LE(interval.low, interval.high);
  }
}

TEST(SpreadDifference, TheSameMethodTwiceDoesNotDiffer) {
  std::mt19937 random(4);
  std::bernoulli_distribution right(0.5);
  auto pairs = pairs_of(9, [&](int, std::size_t, int) { return right(random) ? 1.0 : 0.0; });
  for (PairedScore& pair : pairs) pair.second = pair.first;
  const auto found = spread_difference(pairs, {.resamples = 300}).value();
  for (const TestedInterval& interval :
       {*found.over_samples, *found.over_tasks, *found.over_lengths}) {
    EXPECT_EQ(interval.estimate, 0);
    EXPECT_EQ(interval.low, 0);
    EXPECT_EQ(interval.high, 0);
    EXPECT_EQ(interval.p, 1);
  }
  EXPECT_EQ(found.mean.p, 1);
}

// Worlds of 13 cells of n samples of which every variance is known. The interval must hold the
// truth about as often as it says, also where a cell has few samples.
struct Held {
  double over_samples = 0;
  double over_tasks = 0;
};
template <typename Draw>
Held share_held(std::size_t samples, Draw draw, double variance, double other) {
  constexpr int kWorlds = 400;
  constexpr int kTasks = 13;
  // Means of the tasks: 0, 1/12 .. 1 and 0, 1/24 .. 1/2. The variance of k / 12 over k = 0 .. 12 is
  // 13 * 14 / 12 / 144.
  const double between = 13.0 * 14 / 12 / 144;
  const double within = variance - other;
  const double over_tasks = between - between / 4 + within / static_cast<double>(samples);
  int held = 0;
  int held_over_tasks = 0;
  for (int world = 0; world < kWorlds; ++world) {
    std::vector<PairedScore> pairs;
    for (int task = 0; task < kTasks; ++task) {
      for (std::size_t i = 0; i < samples; ++i) {
        pairs.push_back({.task = "t" + std::to_string(task),
                         .length = 1024,
                         .seed = 42,
                         .first = task / 12.0 + draw(0),
                         .second = task / 24.0 + draw(1)});
      }
    }
    const auto found =
        spread_difference(pairs, {.resamples = 300, .seed = static_cast<std::uint64_t>(world)})
            .value();
    const auto holds = [](const Interval& interval, double truth) {
      return interval.low <= truth && truth <= interval.high ? 1 : 0;
    };
    held += holds(*found.over_samples, within);
    held_over_tasks += holds(*found.over_tasks, over_tasks);
  }
  return {.over_samples = static_cast<double>(held) / kWorlds,
          .over_tasks = static_cast<double>(held_over_tasks) / kWorlds};
}

TEST(SpreadDifference, SmallCellsHaveIntervalsThatHoldTheTruth) {
  std::mt19937 random(6);
  std::uniform_real_distribution<double> even(-0.5, 0.5);
  std::bernoulli_distribution fair(0.5);
  std::bernoulli_distribution rare(0.1);
  for (const std::size_t samples : {5, 20}) {
    // Variances 1/12 and 1/48.
    const Held numbers = share_held(
        samples, [&](int which) { return even(random) / (which + 1); }, 1.0 / 12, 1.0 / 48);
    // 0 and 1, less their mean: 0.25 and 0.09.
    const Held coins = share_held(
        samples, [&](int which) { return which == 0 ? fair(random) - 0.5 : rare(random) - 0.1; },
        0.25, 0.09);
    for (const Held& held : {numbers, coins}) {
      EXPECT_GE(held.over_samples, 0.90) << samples;
      EXPECT_LE(held.over_samples, 0.99) << samples;
      EXPECT_GE(held.over_tasks, 0.90) << samples;
      EXPECT_LE(held.over_tasks, 0.995) << samples;
    }
  }
}

// Means of 5 noisy samples against no noise at all: the noise of a mean, 0.25 / 5, must not be in
// the draws a second time. Their middle is where an interval of next to no confidence is.
TEST(SpreadDifference, DrawsLieAroundTheEstimate) {
  std::mt19937 random(9);
  std::bernoulli_distribution fair(0.5);
  constexpr int kWorlds = 100;
  constexpr double kNoise = 0.25 / 5;
  double over_tasks = 0;
  double over_lengths = 0;
  for (int world = 0; world < kWorlds; ++world) {
    const auto pairs = pairs_of(5, [&](int, std::size_t, int which) {
      return which == 0 ? static_cast<double>(fair(random)) : 0.5;
    });
    const auto found = spread_difference(pairs, {.resamples = 300,
                                                 .confidence = 0.02,
                                                 .seed = static_cast<std::uint64_t>(world)})
                           .value();
    const auto off = [](const Interval& interval) {
      return ((interval.low + interval.high) / 2 - interval.estimate) / kWorlds;
    };
    over_tasks += off(*found.over_tasks);
    over_lengths += off(*found.over_lengths);
  }
  EXPECT_NEAR(over_tasks, 0, 0.4 * kNoise);
  EXPECT_NEAR(over_lengths, 0, 0.4 * kNoise);
}

// Equal variances with unlike means, which is no difference of variances, and unequal ones.
TEST(SpreadDifference, PValuesTellVariancesApartAndNothingElse) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> even(0, 1);
  constexpr int kWorlds = 300;
  int wrong = 0;
  int wrong_over_tasks = 0;
  int right = 0;
  for (int world = 0; world < kWorlds; ++world) {
    const ResamplingOptions options = {.resamples = 300, .seed = static_cast<std::uint64_t>(world)};
    const auto alike = pairs_of(
        10, [&](int, std::size_t, int which) { return even(random) / 2 + (which == 0 ? 0 : 0.5); });
    const auto found = spread_difference(alike, options).value();
    wrong += found.over_samples->p < 0.05 ? 1 : 0;
    wrong_over_tasks += found.over_tasks->p < 0.05 ? 1 : 0;
    EXPECT_LT(found.mean.p, 0.01);
    const auto unlike = pairs_of(10, [&](int, std::size_t, int which) {
      return which == 0 ? even(random) : even(random) / 2;
    });
    right += spread_difference(unlike, options)->over_samples->p < 0.05 ? 1 : 0;
  }
  EXPECT_LE(wrong, kWorlds * 9 / 100);
  EXPECT_LE(wrong_over_tasks, kWorlds * 9 / 100);
  EXPECT_GE(right, kWorlds * 95 / 100);
}

// More draws for more comparisons: the smallest p-value is below what Holm leaves of 5 %.
TEST(SpreadDifference, AFamilyOfComparisonsCanBeSignificant) {
  std::mt19937 random(8);
  std::uniform_real_distribution<double> even(0, 1);
  const auto pairs = pairs_of(50, [&](int, std::size_t, int which) {
    return which == 0 ? even(random) : 0.3 * even(random);
  });
  EXPECT_GT(spread_difference(pairs, {.resamples = 100})->over_samples->p, 0.05 / 50);
  EXPECT_LT(spread_difference(pairs, {.resamples = 100, .comparisons = 50})->over_samples->p,
            0.05 / 50);
}

// Many worlds in which the variances over samples are known: 0.25 of a fair coin, 0.09 of one of
// 0.1. The interval must hold the truth about as often as it says.
TEST(SpreadDifference, IntervalsHoldTheTruthAsOftenAsTheySay) {
  std::mt19937 random(5);
  std::bernoulli_distribution fair(0.5);
  std::bernoulli_distribution rare(0.1);
  constexpr int kWorlds = 200;
  int held = 0;
  int told_apart = 0;
  for (int world = 0; world < kWorlds; ++world) {
    const auto pairs = pairs_of(30, [&](int, std::size_t, int which) {
      return (which == 0 ? fair(random) : rare(random)) ? 1.0 : 0.0;
    });
    const auto found =
        spread_difference(pairs, {.resamples = 400, .seed = static_cast<std::uint64_t>(world)});
    const Interval& interval = *found.value().over_samples;
    if (interval.low <= 0.16 && 0.16 <= interval.high) ++held;
    if (interval.low > 0) ++told_apart;
  }
  EXPECT_GE(held, kWorlds * 85 / 100);
  EXPECT_EQ(told_apart, kWorlds);
}

TEST(SpreadDifference, WhatIsMissingIsSaid) {
  const auto one = [](double score) {
    return std::vector<PairedScore>{
        {.task = "t", .length = 1, .seed = 1, .first = score, .second = 0}};
  };
  const auto single = spread_difference(one(1), {.resamples = 10}).value();
  EXPECT_FALSE(single.over_samples || single.over_tasks || single.over_lengths ||
               single.over_seeds);
  EXPECT_EQ(single.mean.estimate, 1);
  // Single samples do not say how much they vary: no variance over tasks can be told apart.
  std::vector<PairedScore> singles;
  for (int task = 0; task < 6; ++task) {
    singles.push_back({.task = "t" + std::to_string(task),
                       .length = 1,
                       .seed = 1,
                       .first = task / 5.0,
                       .second = 0.5});
  }
  EXPECT_EQ(spread_difference(singles, {.resamples = 10})->over_tasks->p, 1);
  EXPECT_FALSE(spread_difference({}, {}).ok());
  EXPECT_FALSE(spread_difference(one(1), {.resamples = 0}).ok());
  EXPECT_FALSE(spread_difference(one(1), {.confidence = 1}).ok());
  EXPECT_FALSE(spread_difference(one(std::numeric_limits<double>::infinity()), {}).ok());
}

}  // namespace
}  // namespace restkv
