#include "eval/score_spread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace restkv {
namespace {

TEST(ScoreSpread, EveryVarianceByHand) {
  // Cell means: a/4096 2, a/8192 4, b/4096 6, b/8192 6; within the cells 2, 8, 0 and none.
  const std::vector<ScoredSample> samples = {
      {"a", 4096, 1, 1}, {"a", 4096, 1, 3}, {"a", 8192, 1, 2}, {"a", 8192, 1, 6},
      {"b", 4096, 1, 6}, {"b", 4096, 1, 6}, {"b", 8192, 1, 6}};
  const ScoreSpread spread = score_spread(samples);
  EXPECT_DOUBLE_EQ(*spread.over_samples, 10.0 / 3);
  EXPECT_DOUBLE_EQ(*spread.over_tasks, (8.0 + 2.0) / 2);    // {2, 6} and {4, 6}
  EXPECT_DOUBLE_EQ(*spread.over_lengths, (2.0 + 0.0) / 2);  // {2, 4} and {6, 6}
  EXPECT_EQ(spread.over_seeds, std::nullopt);
  EXPECT_DOUBLE_EQ(*spread.sampling_noise, (1.0 + 4.0 + 0.0) / 3);
  EXPECT_DOUBLE_EQ(*mean_of_cells(samples), 4.5);

  auto shuffled = samples;
  std::ranges::reverse(shuffled);
  EXPECT_DOUBLE_EQ(*score_spread(shuffled).over_tasks, 5);
}

TEST(ScoreSpread, SeedsAreComparedWithinATaskAndLength) {
  const std::vector<ScoredSample> samples = {{"a", 0, 1, 0}, {"a", 0, 2, 1}, {"a", 0, 3, 2},
                                             {"b", 0, 1, 5}, {"c", 9, 1, 7}, {"c", 9, 2, 7}};
  const ScoreSpread spread = score_spread(samples);
  EXPECT_DOUBLE_EQ(*spread.over_seeds, (1.0 + 0.0) / 2);
  EXPECT_EQ(spread.over_samples, std::nullopt);
  EXPECT_EQ(spread.sampling_noise, std::nullopt);
  EXPECT_EQ(spread.over_lengths, std::nullopt);
  EXPECT_DOUBLE_EQ(*spread.over_tasks, 12.5);  // {0, 5}; at length 9 there is one task
}

TEST(ScoreSpread, NothingOfNothing) {
  EXPECT_EQ(score_spread({}).over_tasks, std::nullopt);
  EXPECT_EQ(mean_of_cells({}), std::nullopt);
}

}  // namespace
}  // namespace restkv
