#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace restkv {
namespace {

using Values = std::vector<double>;

void expect_near(const Values& values, const Values& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-12) << i;
}

TEST(Statistics, MeanAndVariance) {
  EXPECT_EQ(mean(Values{1, 2, 6}), 3);
  EXPECT_EQ(sample_variance(Values{1, 2, 6}), 7);  // (4 + 1 + 9) / 2
  EXPECT_EQ(sample_variance(Values{5}), std::nullopt);
  EXPECT_EQ(sample_variance(Values{}), std::nullopt);
}

TEST(Statistics, QuantilesAreLinearBetweenValues) {
  const Values sorted = {10, 20, 40};
  EXPECT_EQ(quantile(sorted, 0), 10);
  EXPECT_EQ(quantile(sorted, 0.25), 15);
  EXPECT_EQ(quantile(sorted, 0.5), 20);
  EXPECT_EQ(quantile(sorted, 0.75), 30);
  EXPECT_EQ(quantile(sorted, 1), 40);
  EXPECT_EQ(quantile(Values{7}, 0.3), 7);
}

TEST(Statistics, NormalQuantiles) {  // of any table
  EXPECT_NEAR(normal_quantile(0.5), 0, 1e-14);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-13);
  EXPECT_NEAR(normal_quantile(0.8), 0.8416212335729143, 1e-13);
  EXPECT_NEAR(normal_quantile(0.005), -2.575829303548901, 1e-13);
  EXPECT_NEAR(normal_quantile(1e-10), -6.361340902404056, 1e-11);
}

TEST(Statistics, DifferencesOfPairs) {
  EXPECT_EQ(*paired_differences(Values{1, 0, 0.5}, Values{0, 1, 0.5}), (Values{1, -1, 0}));
  EXPECT_EQ(paired_differences(Values{1}, Values{1, 2}).error().message,
            "pairs need as many scores of the one as of the other, not 1 and 2");
  EXPECT_FALSE(paired_differences(Values{}, Values{}).ok());
  EXPECT_FALSE(paired_differences(Values{1, std::nan("")}, Values{1, 2}).ok());
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(paired_differences(Values{kInfinity}, Values{kInfinity}).ok());
}

TEST(Holm, WorkedByHand) {
  // Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, never falling.
  expect_near(holm(Values{0.01, 0.04, 0.03, 0.005}), {0.03, 0.06, 0.06, 0.02});
  expect_near(holm(Values{0.4, 0.6}), {0.8, 0.8});
  expect_near(holm(Values{0.9, 0.8, 0.7}), {1, 1, 1});
  expect_near(holm(Values{0.2}), {0.2});
  expect_near(holm(Values{}), {});
}

TEST(BenjaminiHochberg, WorkedByHand) {
  // Sorted 0.005 0.01 0.03 0.04, times 4/1 4/2 4/3 4/4, never falling.
  expect_near(benjamini_hochberg(Values{0.01, 0.04, 0.03, 0.005}), {0.02, 0.04, 0.04, 0.02});
  expect_near(benjamini_hochberg(Values{0.04, 0.041}), {0.041, 0.041});
  expect_near(benjamini_hochberg(Values{}), {});
}

// The table of Benjamini and Hochberg (1995), section 3: of 15 hypotheses Bonferroni's kind of
// control rejects 3 at 0.05 and theirs 4.
TEST(BenjaminiHochberg, ExampleOfThePaper) {
  const Values p = {0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                    0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
  const auto below = [](const Values& values) {
    return std::ranges::count_if(values, [](double value) { return value <= 0.05; });
  };
  EXPECT_EQ(below(holm(p)), 3);
  EXPECT_EQ(below(benjamini_hochberg(p)), 4);
}

TEST(Corrections, NeverBelowTheValueNorOutOfOrder) {
  std::uint64_t state = 9;
  for (int trial = 0; trial < 200; ++trial) {
    Values p(1 + next_random(state) % 9);
    for (double& value : p) value = static_cast<double>(next_random(state) % 50) / 49;
    const Values strict = holm(p);
    const Values loose = benjamini_hochberg(p);
    for (std::size_t i = 0; i < p.size(); ++i) {
      EXPECT_GE(loose[i], p[i]);
      EXPECT_GE(strict[i], loose[i] - 1e-15);
      EXPECT_LE(strict[i], 1);
      for (std::size_t j = 0; j < p.size(); ++j) {
        if (p[i] <= p[j]) {
          EXPECT_LE(strict[i], strict[j]);
          EXPECT_LE(loose[i], loose[j]);
        }
      }
    }
  }
}

TEST(SamplesNeeded, KnownAnswers) {
  // (1.959964 + 0.841621)^2 = 7.848880; times 4 and 100.
  EXPECT_EQ(*samples_needed(0.5, 1, {}), 32U);
  EXPECT_EQ(*samples_needed(-0.1, 1, {}), 785U);
  // (2.575829 + 1.281552)^2 = 14.879388
  EXPECT_EQ(*samples_needed(1, 1, {.level = 0.01, .power = 0.9}), 15U);
  EXPECT_EQ(*samples_needed(1, 0, {}), 2U);
  EXPECT_NEAR(*detectable_difference(100, 1, {}), 0.2801585, 1e-6);
  for (const std::uint64_t n : {10U, 321U, 5000U}) {
    const double difference = *detectable_difference(n, 0.4, {});
    EXPECT_EQ(*samples_needed(difference * 1.000001, 0.4, {}), n);
  }
}

TEST(SamplesNeeded, ImpossibleQuestionsAreErrors) {
  EXPECT_EQ(samples_needed(0, 1, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(samples_needed(std::nan(""), 1, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(samples_needed(1, -1, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(samples_needed(1, 1, {.level = 0}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(samples_needed(1, 1, {.power = 1}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(samples_needed(1e-300, 1e300, {}).error().code, ErrorCode::kUnsupported);
}

// The formula against the test that it plans: normal differences, a z test, the share that is
// found.
TEST(SamplesNeeded, ThatManyFindTheDifferenceAsOftenAsAsked) {
  const double difference = 0.3;
  const auto samples = *samples_needed(difference, 1, {});
  std::uint64_t state = 4;
  int found = 0;
  constexpr int kTrials = 2000;
  for (int trial = 0; trial < kTrials; ++trial) {
    double sum = 0;
    for (std::uint64_t i = 0; i < samples; ++i) {
      const double uniform = (static_cast<double>(next_random(state) >> 12) + 0.5) * 0x1p-52;
      // Box and Muller; one of the pair is enough.
      const double angle = static_cast<double>(next_random(state) >> 12) * 0x1p-52 * 2 * M_PI;
      sum += difference + std::sqrt(-2 * std::log(uniform)) * std::cos(angle);
    }
    found += std::abs(sum) / std::sqrt(static_cast<double>(samples)) > 1.959964 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(found) / kTrials, 0.8, 0.03);  // 3.4 standard errors
}

}  // namespace
}  // namespace restkv
