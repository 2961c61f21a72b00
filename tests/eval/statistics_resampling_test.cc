#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/random.h"
#include "eval/statistics.h"

namespace restkv {
namespace {

using Groups = std::vector<std::vector<double>>;

TEST(Bootstrap, TwoValuesHaveThreeMeans) {
  // Means -0.207, 0.5, 1.207 with chances 1/4, 1/2, 1/4: the values are moved to the distance from
  // their mean that has the sample's variance, 1/2.
  const Groups groups = {{0, 1}};
  const auto wide = bootstrap_interval(groups, {.confidence = 0.95});
  EXPECT_EQ(wide->estimate, 0.5);
  EXPECT_DOUBLE_EQ(wide->low, 0.5 - std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(wide->high, 0.5 + std::sqrt(0.5));
  const auto narrow = bootstrap_interval(groups, {.confidence = 0.4});
  EXPECT_DOUBLE_EQ(narrow->low, 0.5);
  EXPECT_DOUBLE_EQ(narrow->high, 0.5);
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

// Many cells of few samples, as a suite of tasks has: as they are drawn from themselves, the
// interval would be sqrt(2/3) as wide and miss one in nine.
TEST(Bootstrap, CoversTheTruthWithFewSamplesInEachGroup) {
  std::uint64_t state = 12;
  int covered = 0;
  constexpr int kTrials = 600;
  for (int trial = 0; trial < kTrials; ++trial) {
    Groups groups;
    for (int g = 0; g < 30; ++g) groups.push_back(random_scores(state, 3, 0.5));
    const auto interval =
        *bootstrap_interval(groups, {.resamples = 500, .seed = static_cast<std::uint64_t>(trial)});
    covered += interval.low <= 0.5 && 0.5 <= interval.high ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(covered) / kTrials, 0.95, 0.03);
}

TEST(Bootstrap, DrawsHaveTheVarianceOfTheSample) {
  const std::vector<double> values = {1, 2, 6};
  const std::vector<double> far = far_from_mean(values);
  double squares = 0;
  for (const double value : far) squares += (value - 3) * (value - 3);
  EXPECT_DOUBLE_EQ(mean(far), 3);
  EXPECT_DOUBLE_EQ(squares / 3, *sample_variance(values));
  EXPECT_EQ(far_from_mean(std::vector<double>{0.25}), std::vector<double>{0.25});
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
  // 70 plus, 30 minus of 100: 2 * P(at most 30 of 100).
  std::vector<double> many(100, 1.0);
  for (std::size_t i = 0; i < 30; ++i) many[i] = -1.0;
  EXPECT_NEAR(*sign_flip_p_value(Groups{many}, {}), 7.850139645594e-5, 1e-15);
  // 55 plus, 45 minus: 2 * P(at most 45 of 100).
  for (std::size_t i = 30; i < 45; ++i) many[i] = -1.0;
  EXPECT_NEAR(*sign_flip_p_value(Groups{many}, {}), 0.36820161732669626, 1e-14);
  // As many of either sign: nothing is less extreme.
  for (std::size_t i = 45; i < 50; ++i) many[i] = -1.0;
  EXPECT_EQ(*sign_flip_p_value(Groups{many}, {}), 1);
  // 100 of one sign: 2 / 2^100, which no number of draws would show.
  EXPECT_NEAR(*sign_flip_p_value(Groups{std::vector<double>(100, 0.3)}, {}) * 0x1p99, 1, 1e-12);
  // So many that the chance is below the smallest number: still not 0.
  const double least = *sign_flip_p_value(Groups{std::vector<double>(5000, 1.0)}, {});
  EXPECT_GT(least, 0);
  EXPECT_LT(least, 1e-200);
}

// All sign patterns, by the definition: a sum as far from 0 as the observed one is extreme. Whole
// numbers, so that no rounding hides a tie.
double by_enumeration(const std::vector<int>& sizes) {
  long long observed = 0;
  for (const int size : sizes) observed += size;
  std::uint64_t extreme = 0;
  const std::uint64_t flips = 1ULL << sizes.size();
  for (std::uint64_t signs = 0; signs < flips; ++signs) {
    long long sum = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      sum += (signs >> i & 1U) != 0 ? -sizes[i] : sizes[i];
    }
    extreme += std::abs(sum) >= std::abs(observed) ? 1 : 0;
  }
  return static_cast<double>(extreme) / static_cast<double>(flips);
}

// Fractions of a benchmark's answers: thirds, fifths and quarters of one score are sixtieths.
TEST(SignFlip, DifferencesOnAGridAreExact) {
  std::uint64_t state = 21;
  for (int trial = 0; trial < 8; ++trial) {
    std::vector<int> sixtieths;
    std::vector<double> differences;
    for (std::size_t i = 0; i < 18; ++i) {
      const std::array<int, 3> units = {12, 15, 20};
      const auto many = static_cast<int>(next_random(state) >> 62) + 1;  // 1 .. 4
      const int sign = trial < 4 && (next_random(state) >> 63) != 0 ? -1 : 1;
      sixtieths.push_back(sign * many * units[i % 3]);
      differences.push_back(sixtieths.back() / 60.0);
    }
    const double p = *sign_flip_p_value(Groups{differences}, {});
    EXPECT_DOUBLE_EQ(p, by_enumeration(sixtieths)) << trial;
  }
}

// Groups of different sizes weigh their differences differently: 1/20 and 1/8 of 1/2 are 2 and 5
// eightieths.
TEST(SignFlip, AGridOfGroupsOfDifferentSizes) {
  const Groups groups = {std::vector<double>(10, 1.0), {1, -1, 1, -1, 1, -1, -1, -1}};
  std::vector<int> fortieths(10, 4);
  for (const double d : groups[1]) fortieths.push_back(d > 0 ? 5 : -5);
  EXPECT_DOUBLE_EQ(*sign_flip_p_value(groups, {}), by_enumeration(fortieths));
}

// Mean 1, deviation 1.15: sums of four uniform numbers, which lie on no grid.
std::vector<double> uneven_differences(std::uint64_t& state, std::size_t count) {
  std::vector<double> differences(count, -3.0);
  for (double& d : differences) {
    for (int i = 0; i < 4; ++i) d += static_cast<double>(next_random(state) >> 11) * 0x1p-52;
  }
  return differences;
}

// Off the grid p is drawn: what many flips would say, within what few of them leave open.
TEST(SignFlip, DrawsAgreeWithTheExactDistribution) {
  std::uint64_t state = 31;
  std::vector<double> differences(30);
  std::vector<int> hundredths(30);
  for (std::size_t i = 0; i < 30; ++i) {
    hundredths[i] = static_cast<int>(next_random(state) >> 57) + 1;  // 1 .. 128
    if (i % 3 == 0) hundredths[i] *= -1;
    differences[i] = hundredths[i];
  }
  const double exact = *sign_flip_p_value(Groups{differences}, {});
  // Moved off any grid by less than a tie could tell.
  for (double& d : differences) d += 1e-3 * static_cast<double>(next_random(state) >> 11) * 0x1p-53;
  const double drawn = *sign_flip_p_value(Groups{differences}, {});
  EXPECT_NE(drawn, exact);
  EXPECT_NEAR(drawn, exact, 4 * std::sqrt(exact / 10'000));
}

TEST(SignFlip, AFamilyOfComparisonsCanBeSignificant) {
  constexpr std::size_t kFamily = 600;
  std::uint64_t state = 41;
  std::vector<double> p;
  for (std::size_t i = 0; i < kFamily; ++i) {
    // 0/1 scores: 0.9 against 0.4.
    const auto better = random_scores(state, 100, 0.9);
    const auto worse = random_scores(state, 100, 0.4);
    const Groups groups = {*paired_differences(better, worse)};
    p.push_back(*sign_flip_p_value(groups, {.comparisons = kFamily}));
  }
  for (const double corrected : holm(p)) EXPECT_LT(corrected, 0.05);
  // No grid: enough flips are drawn for what 600 comparisons leave of 5 %, and no more than are
  // needed where nothing differs.
  const Groups uneven = {uneven_differences(state, 100)};
  EXPECT_LT(*sign_flip_p_value(uneven, {.comparisons = kFamily}) * kFamily, 0.05);
  EXPECT_GT(*sign_flip_p_value(uneven, {}) * kFamily, 0.05);
  Groups alike = uneven;
  for (std::size_t i = 0; i < 100; i += 2) alike[0][i] *= -1;
  EXPECT_EQ(*sign_flip_p_value(alike, {.comparisons = kFamily}), *sign_flip_p_value(alike, {}));
}

// A p-value is below a level no more often than the level says, also with the early end.
TEST(SignFlip, PValuesAreNotTooSmall) {
  std::uint64_t state = 51;
  constexpr int kTrials = 2000;
  int below = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> differences(20);
    for (double& d : differences) {
      d = static_cast<double>(next_random(state) >> 11) * 0x1p-52 - 1;
    }
    const auto p = *sign_flip_p_value(
        Groups{differences},
        {.resamples = 100, .seed = static_cast<std::uint64_t>(trial), .comparisons = 5});
    below += p <= 0.02 ? 1 : 0;
  }
  EXPECT_LE(below, kTrials * 0.02 + 3 * std::sqrt(kTrials * 0.02));
  EXPECT_GE(below, kTrials * 0.02 - 3 * std::sqrt(kTrials * 0.02));
}

}  // namespace
}  // namespace restkv
