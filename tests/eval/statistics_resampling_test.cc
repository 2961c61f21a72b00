#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "eval/statistics.h"

namespace restkv {
namespace {

using Groups = std::vector<std::vector<double>>;

TEST(Bootstrap, TwoValuesHaveThreeMeans) {
  // Means 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
  const Groups groups = {{0, 1}};
  const auto wide = bootstrap_interval(groups, {.confidence = 0.95});
  EXPECT_EQ(wide->estimate, 0.5);
  EXPECT_EQ(wide->low, 0);
  EXPECT_EQ(wide->high, 1);
  const auto narrow = bootstrap_interval(groups, {.confidence = 0.4});
  EXPECT_EQ(narrow->low, 0.5);
  EXPECT_EQ(narrow->high, 0.5);
}

TEST(Bootstrap, EqualDifferencesLeaveNoDoubt) {
  const auto interval = bootstrap_interval(Groups{{0.25, 0.25, 0.25}}, {});
  EXPECT_EQ(interval->low, 0.25);
  EXPECT_EQ(interval->estimate, 0.25);
  EXPECT_EQ(interval->high, 0.25);
}

TEST(Bootstrap, GroupsCountEquallyAndAreResampledWithinThemselves) {
  // 100 samples of one task never outweigh two of another, nor mix with them.
  const auto interval = bootstrap_interval(Groups{std::vector<double>(100, 0.0), {1, 1}}, {});
  EXPECT_EQ(interval->estimate, 0.5);
  EXPECT_EQ(interval->low, 0.5);
  EXPECT_EQ(interval->high, 0.5);
}

TEST(Bootstrap, SameSeedSameIntervalAndOtherSeedNearlySo) {
  const Groups groups = {{0.1, -0.3, 0.9, 0.2, 0.4, -0.1, 0.35}};
  const auto first = *bootstrap_interval(groups, {.seed = 1});
  const auto again = *bootstrap_interval(groups, {.seed = 1});
  const auto other = *bootstrap_interval(groups, {.seed = 2});
  EXPECT_EQ(first.low, again.low);
  EXPECT_EQ(first.high, again.high);
  EXPECT_NE(first.low, other.low);
  EXPECT_NEAR(first.low, other.low, 0.03);
}

std::vector<double> random_scores(std::uint64_t& state, std::size_t count, double share) {
  std::vector<double> scores(count);
  for (double& score : scores) {
    score = static_cast<double>(next_random(state) >> 11) * 0x1p-53 < share ? 1 : 0;
  }
  return scores;
}

TEST(Bootstrap, IsTheNormalIntervalOfALargeSample) {
  std::uint64_t state = 6;
  const Groups groups = {random_scores(state, 800, 0.3)};
  const auto interval = *bootstrap_interval(groups, {});
  const double error = std::sqrt(*sample_variance(groups[0]) / 800);
  EXPECT_NEAR(interval.low, interval.estimate - 1.96 * error, 0.1 * error);
  EXPECT_NEAR(interval.high, interval.estimate + 1.96 * error, 0.1 * error);
}

TEST(Bootstrap, CoversTheTruthAsOftenAsItSays) {
  std::uint64_t state = 11;
  int covered = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    const Groups groups = {random_scores(state, 60, 0.5)};
    const auto interval =
        *bootstrap_interval(groups, {.resamples = 500, .seed = static_cast<std::uint64_t>(trial)});
    covered += interval.low <= 0.5 && 0.5 <= interval.high ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(covered) / kTrials, 0.95, 0.035);
}

TEST(Bootstrap, WrongRequestsAreErrors) {
  const Groups good = {{1, 2}};
  EXPECT_FALSE(bootstrap_interval(Groups{}, {}).ok());
  EXPECT_FALSE(bootstrap_interval(Groups{{1}, {}}, {}).ok());
  EXPECT_FALSE(bootstrap_interval(Groups{{std::nan("")}}, {}).ok());
  EXPECT_FALSE(bootstrap_interval(good, {.resamples = 0}).ok());
  EXPECT_FALSE(bootstrap_interval(good, {.confidence = 1}).ok());
  EXPECT_FALSE(bootstrap_interval(good, {.confidence = std::nan("")}).ok());
  EXPECT_FALSE(bootstrap_interval(good, {.resamples = 1ULL << 40}).ok());
  EXPECT_FALSE(sign_flip_p_value(Groups{{1}, {}}, {}).ok());
}

TEST(SignFlip, ExactValuesByHand) {
  // 5 differences of one sign: only "all" and "none" flipped are as extreme, 2 of 32.
  EXPECT_EQ(*sign_flip_p_value(Groups{{1, 2, 3, 4, 5}}, {}), 2.0 / 32);
  // Sums of +-1 +-2: 3, 1, -1, -3; observed 1: all are as extreme.
  EXPECT_EQ(*sign_flip_p_value(Groups{{2, -1}}, {}), 1);
  EXPECT_EQ(*sign_flip_p_value(Groups{{0, 0}}, {}), 1);
  EXPECT_EQ(*sign_flip_p_value(Groups{{0.1, 0, 0.2, 0, 0.3}}, {}), 2.0 / 8);  // zeros do not count
  // The group of one weighs as much as that of two: parts 1/4, 1/4 and -1/2, whose sum is 0.
  EXPECT_EQ(*sign_flip_p_value(Groups{{1, 1}, {-1}}, {}), 1);
}

// Of equal sizes only the number of flips matters: a two-sided sign test, from binomials.
TEST(SignFlip, EqualSizesAreASignTest) {
  // 12 plus, 3 minus of 15: P(at most 3 or at least 12 minus) = 2 * (1 + 15 + 105 + 455) / 2^15.
  std::vector<double> differences(15, 0.1);
  for (std::size_t i = 0; i < 3; ++i) differences[i] = -0.1;
  EXPECT_DOUBLE_EQ(*sign_flip_p_value(Groups{differences}, {}), 2.0 * 576 / 32768);
  // 70 plus, 30 minus of 100, drawn: 2 * P(at most 30 of 100) = 0.0000785; at least one draw
  // counts.
  std::vector<double> many(100, 1.0);
  for (std::size_t i = 0; i < 30; ++i) many[i] = -1.0;
  const double p = *sign_flip_p_value(Groups{many}, {.resamples = 100'000});
  EXPECT_NEAR(p, 0.0000785, 0.00009);
  EXPECT_GT(p, 0);
  // 55 plus, 45 minus: 2 * P(at most 45 of 100) = 0.3682.
  for (std::size_t i = 30; i < 45; ++i) many[i] = -1.0;
  EXPECT_NEAR(*sign_flip_p_value(Groups{many}, {.resamples = 100'000}), 0.3682, 0.006);
}

}  // namespace
}  // namespace restkv
