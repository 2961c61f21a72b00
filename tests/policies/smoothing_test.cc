#include "policies/smoothing_common.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "policies/drift_common.h"
#include "policies/layers.h"

namespace restkv {
namespace {

using Kind = SmoothingFilter::Kind;

std::vector<float> plain_filter(const std::vector<float>& in, const SmoothingFilter& filter) {
  const auto n = static_cast<long>(in.size());
  std::vector<float> out;
  for (long j = 0; j < n; ++j) {
    double sum = 0;
    double max = -1e30;
    for (long i = 0; i < static_cast<long>(filter.width); ++i) {
      const long at = j + filter.shift - static_cast<long>(filter.width / 2) + i;
      const bool inside = at >= 0 && at < n;
      const double value = in[static_cast<std::size_t>(std::clamp(at, 0L, n - 1))];
      if (inside || filter.kind == Kind::kMeanRepeatingEdges) sum += value;
      if (inside) max = std::max(max, value);
    }
    out.push_back(static_cast<float>(
        filter.kind == Kind::kMax ? max : sum / static_cast<double>(filter.width)));
  }
  return out;
}

std::vector<float> smoothed(const std::vector<float>& in, const SmoothingFilter& filter) {
  std::vector<double> scratch(smoothing_scratch(in.size(), filter.width));
  std::vector<float> out(in.size());
  smooth(in, filter, scratch, out);
  return out;
}

TEST(Smoothing, ByHand) {
  const std::vector<float> in = {1, 2, 6, 3};
  EXPECT_EQ(smoothed(in, {.kind = Kind::kMeanRepeatingEdges, .width = 3, .shift = 0}),
            (std::vector<float>{4.0F / 3, 3, 11.0F / 3, 4}));
  EXPECT_EQ(smoothed(in, {.kind = Kind::kMeanRepeatingEdges, .width = 1, .shift = 2}),
            (std::vector<float>{6, 3, 3, 3}));
  EXPECT_EQ(smoothed(in, {.kind = Kind::kMeanZeroEdges, .width = 3, .shift = 0}),
            (std::vector<float>{1, 3, 11.0F / 3, 3}));
  EXPECT_EQ(smoothed(in, {.kind = Kind::kMax, .width = 3, .shift = 0}),
            (std::vector<float>{2, 6, 6, 6}));
}

// Whole numbers, so that every order of summing gives the same bits.
TEST(Smoothing, EveryWidthAndShift) {
  std::mt19937 random(3);
  for (std::size_t n = 1; n <= 12; ++n) {
    std::vector<float> in(n);
    for (float& value : in) value = static_cast<float>(static_cast<int>(random() % 100) - 50);
    for (std::size_t width = 1; width <= 2 * n + 3; ++width) {
      for (long shift = -static_cast<long>(n) - 2; shift <= static_cast<long>(n) + 2; ++shift) {
        for (const Kind kind : {Kind::kMeanRepeatingEdges, Kind::kMeanZeroEdges, Kind::kMax}) {
          const SmoothingFilter filter{
              .kind = kind, .width = width, .shift = kind == Kind::kMax ? 0 : shift};
          ASSERT_EQ(smoothed(in, filter), plain_filter(in, filter))
              << "n " << n << " width " << width << " shift " << shift;
        }
      }
    }
  }
}

// One score of 1e30 must not wipe out what is far from it, as a running sum would.
TEST(Smoothing, ALargeScoreLeavesNothingBehind) {
  std::vector<float> in(40, 1e-9F);
  in[3] = 1e30F;
  const auto out = smoothed(in, {.kind = Kind::kMeanRepeatingEdges, .width = 5, .shift = 0});
  for (std::size_t j = 6; j < out.size(); ++j) EXPECT_FLOAT_EQ(out[j], 1e-9F);
}

TEST(Drift, FollowsThePlainSelectionWithTiesAndOddRows) {
  std::mt19937 random(4);
  DriftScratch scratch;
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t queries = 2 + random() % 6;
    const std::size_t n = 1 + random() % 40;
    const std::size_t count = 1 + random() % (n + 3);
    std::vector<float> attention(queries * n);
    // Few different values (among them 0 and a denormal), so that ties are the rule.
    const float values[] = {0.0F, 1e-40F, 1e-20F, 0.001F, 0.00101F, 0.5F, 0.50001F, 1.0F};
    for (float& value : attention) value = values[random() % 8];
    double difference = 0;
    const std::size_t half = queries / 2;
    for (std::size_t i = 0; i < queries; ++i) {
      const auto row = attention.begin() + static_cast<std::ptrdiff_t>(i * n);
      const std::vector<double> doubles(row, row + static_cast<std::ptrdiff_t>(n));
      for (const std::size_t index : plain_top(doubles, count)) {
        if (i < half) difference += static_cast<double>(index);
        if (i >= queries - half) difference -= static_cast<double>(index);
      }
    }
    const double wanted = difference / static_cast<double>(half * std::min(count, n));
    scratch.reserve(n);
    EXPECT_EQ(attention_drift({attention.data(), queries, n}, count, scratch), wanted);
  }
}

}  // namespace
}  // namespace restkv
