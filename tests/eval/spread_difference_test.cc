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
  const auto pairs = pairs_of(7, [&](int task, std::size_t, int which) {
    return which == 0 ? score(random) * task : score(random);
  });
  const auto found = spread_difference(pairs, {.resamples = 200}).value();
  const ScoreSpread a = score_spread(method(pairs, true));
  const ScoreSpread b = score_spread(method(pairs, false));
  EXPECT_EQ(found.pairs, pairs.size());
  EXPECT_NEAR(found.over_samples->estimate, *a.over_samples - *b.over_samples, 1e-12);
  EXPECT_NEAR(found.over_tasks->estimate, *a.over_tasks - *b.over_tasks, 1e-12);
  EXPECT_NEAR(found.over_lengths->estimate, *a.over_lengths - *b.over_lengths, 1e-12);
  EXPECT_NEAR(found.mean.estimate,
              *mean_of_cells(method(pairs, true)) - *mean_of_cells(method(pairs, false)), 1e-12);
  for (const Interval& interval :
       {*found.over_samples, *found.over_tasks, *found.over_lengths, found.mean}) {
    EXPECT_LE(interval.low, interval.high);
  }
}

TEST(SpreadDifference, TheSameMethodTwiceDoesNotDiffer) {
  std::mt19937 random(4);
  std::bernoulli_distribution right(0.5);
  auto pairs = pairs_of(9, [&](int, std::size_t, int) { return right(random) ? 1.0 : 0.0; });
  for (PairedScore& pair : pairs) pair.second = pair.first;
  const auto found = spread_difference(pairs, {.resamples = 300}).value();
  for (const Interval& interval : {*found.over_samples, *found.over_tasks, *found.over_lengths}) {
    EXPECT_EQ(interval.estimate, 0);
    EXPECT_EQ(interval.low, 0);
    EXPECT_EQ(interval.high, 0);
  }
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
  EXPECT_FALSE(single.over_samples || single.over_tasks || single.over_lengths);
  EXPECT_EQ(single.mean.estimate, 1);
  EXPECT_FALSE(spread_difference({}, {}).ok());
  EXPECT_FALSE(spread_difference(one(1), {.resamples = 0}).ok());
  EXPECT_FALSE(spread_difference(one(1), {.confidence = 1}).ok());
  EXPECT_FALSE(spread_difference(one(std::numeric_limits<double>::infinity()), {}).ok());
}

}  // namespace
}  // namespace restkv
