#include "base/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"

namespace restkv {
namespace {

using Indices = std::vector<std::uint32_t>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Indices top_k_of(const std::vector<float>& scores, std::size_t k) {
  Indices indices = {77, 78};  // what was there before goes
  top_k(scores, k, indices);
  return indices;
}

// By sorting all: larger first, then the lower index; a NaN is the smallest.
Indices sorted_top_k(const std::vector<float>& scores, std::size_t k) {
  const auto comparable = [&](std::uint32_t i) {
    return std::isnan(scores[i]) ? -kInfinity : scores[i];
  };
  Indices indices(scores.size());
  std::iota(indices.begin(), indices.end(), 0U);
  std::ranges::stable_sort(indices, std::greater<>(), comparable);
  indices.resize(std::min(k, scores.size()));
  std::ranges::sort(indices);
  return indices;
}

TEST(TopK, TakesTheLargestInOrderOfIndex) {
  EXPECT_EQ(top_k_of({1, 5, 3, 9, 2}, 2), (Indices{1, 3}));
  EXPECT_EQ(top_k_of({9, 8, 7}, 1), (Indices{0}));
  EXPECT_EQ(top_k_of({-3, -1, -2}, 2), (Indices{1, 2}));
}

TEST(TopK, LowerIndexWinsATie) {
  EXPECT_EQ(top_k_of({2, 2, 2, 2}, 2), (Indices{0, 1}));
  EXPECT_EQ(top_k_of({1, 3, 1, 3, 1}, 3), (Indices{0, 1, 3}));
  EXPECT_EQ(top_k_of({0.0F, -0.0F, 0.0F}, 2), (Indices{0, 1}));
}

TEST(TopK, NanIsTheSmallest) {
  EXPECT_EQ(top_k_of({kNan, 1, kNan, 0}, 2), (Indices{1, 3}));
  EXPECT_EQ(top_k_of({kNan, -kInfinity, 0}, 2), (Indices{0, 2}));  // a tie with -infinity
  EXPECT_EQ(top_k_of({kNan, kNan, kNan}, 2), (Indices{0, 1}));
  EXPECT_EQ(top_k_of({kInfinity, kNan, 3}, 1), (Indices{0}));
}

TEST(TopK, NoneAndAll) {
  EXPECT_EQ(top_k_of({3, 1, 2}, 0), Indices{});
  EXPECT_EQ(top_k_of({}, 0), Indices{});
  EXPECT_EQ(top_k_of({}, 5), Indices{});
  for (const std::size_t k : {3U, 4U, 1000U}) {
    EXPECT_EQ(top_k_of({3, kNan, 2}, k), (Indices{0, 1, 2}));
  }
}

TEST(TopK, AppendsBehindWhatIsThereAndFurther) {
  Indices indices = {4, 9};
  indices.reserve(5);
  const std::uint32_t* const room = indices.data();
  std::vector<std::int32_t> keys(6);  // more than needed
  append_top_k(std::vector<float>{1, 5, 3, 9, 2}, 3, 100, keys, indices);
  EXPECT_EQ(indices, (Indices{4, 9, 101, 102, 103}));
  EXPECT_EQ(indices.data(), room);
  append_top_k(std::vector<float>{1, 5}, 7, 10, keys, indices);
  EXPECT_EQ(indices, (Indices{4, 9, 101, 102, 103, 10, 11}));
  append_top_k(std::vector<float>{1, 5}, 0, 10, keys, indices);
  EXPECT_EQ(indices.size(), 7U);
}

// Of all sizes and signs, so that the cut is looked for in the whole range of floats.
TEST(TopK, IsASortCutOffOfAnyFloats) {
  std::uint64_t state = 6;
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<float> scores(1 + next_random(state) % 200);
    for (float& score : scores) {
      score = std::bit_cast<float>(static_cast<std::uint32_t>(next_random(state) >> 32));
    }
    const std::size_t k = next_random(state) % (scores.size() + 1);
    ASSERT_EQ(top_k_of(scores, k), sorted_top_k(scores, k)) << "trial " << trial << ", k " << k;
  }
}

TEST(TopK, IsASortCutOff) {
  std::uint64_t state = 5;
  for (int trial = 0; trial < 400; ++trial) {
    const auto size = static_cast<std::size_t>(next_random(state) % 60);
    const auto kinds = 1 + next_random(state) % 12;  // few kinds of values: many ties
    std::vector<float> scores(size);
    for (float& score : scores) {
      const auto value = next_random(state) % kinds;
      score = value == 3 ? kNan : value == 4 ? -kInfinity : static_cast<float>(value) - 2.0F;
    }
    for (std::size_t k = 0; k <= size + 1; ++k) {
      ASSERT_EQ(top_k_of(scores, k), sorted_top_k(scores, k)) << "trial " << trial << ", k " << k;
    }
  }
}

}  // namespace
}  // namespace restkv
