#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "budgets/allocators.h"

namespace restkv {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Budget 3 for two heads: 6 rows. One is forced for each head, 10 and 4. The best four of what is
// left are 9, 8, 7 and 6, all of head 0.
TEST(Ada, WorkedByHand) {
  EXPECT_EQ(counts_of("ada:alpha=0.34", {.budget = 3, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{5, 1}));
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 2, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{4, 0}));
  EXPECT_EQ(counts_of("ada:alpha=1", {.budget = 2, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{2, 2}));
}

// Protected rows are at +infinity and count: head 1 has 3 of them, so of 8 rows 5 are left.
TEST(Ada, ProtectedRowsComeFirstAndCount) {
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 4,
                                      .protected_rows = {0, 3},
                                      .scores = {{5, 5, 5, 5, 5, 5}, {kInf, 1, kInf, kInf}}}),
            (std::vector<std::size_t>{5, 3}));
}

TEST(Ada, ProtectedRowsStayEvenIfTheyAreMoreThanTheBudget) {
  EXPECT_EQ(counts_of("ada", {.budget = 2,
                              .protected_rows = {3, 3},
                              .scores = {{kInf, kInf, kInf, 1}, {kInf, kInf, kInf, 1}}}),
            (std::vector<std::size_t>{3, 3}));
}

TEST(Ada, TiesGoToTheLowerHeadAndEverythingFitsIfItFits) {
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 2, .scores = {{1, 1, 1}, {1, 1, 1}}}),
            (std::vector<std::size_t>{3, 1}));
  EXPECT_EQ(counts_of("ada", {.budget = 9, .scores = {{1, 1, 1}, {1, 1}}}),
            (std::vector<std::size_t>{3, 2}));
}

// The rule once more by sorting, on random ragged heads with many ties.
TEST(Ada, FollowsThePlainRule) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const std::size_t heads = 1 + random() % 5;
    AllocatorCall call{.budget = 1 + random() % 12};
    std::size_t held = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      call.scores.emplace_back(1 + random() % 20);
      for (float& score : call.scores.back()) score = static_cast<float>(random() % 6);
      held += call.scores.back().size();
    }
    const auto floor = static_cast<std::size_t>(0.2 * static_cast<double>(call.budget));
    std::vector<std::size_t> wanted(heads);
    std::vector<std::tuple<float, std::size_t>> rest;  // -score, head
    std::size_t left = std::min(held, call.budget * heads);
    for (std::size_t h = 0; h < heads; ++h) {
      auto sorted = call.scores[h];
      std::ranges::sort(sorted, std::greater<>());
      wanted[h] = std::min(floor, sorted.size());
      left -= wanted[h];
      for (std::size_t i = wanted[h]; i < sorted.size(); ++i) rest.emplace_back(-sorted[i], h);
    }
    std::ranges::sort(rest);
    for (std::size_t i = 0; i < left; ++i) ++wanted[std::get<1>(rest[i])];
    EXPECT_EQ(counts_of("ada", call), wanted);
  }
}

}  // namespace
}  // namespace restkv
