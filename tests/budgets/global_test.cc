#include <algorithm>
#include <cstddef>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "budgets/allocators.h"

namespace restkv {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Two heads of two layers; a pool of 6 rows.
TEST(Global, WorkedByHand) {
  const std::vector<std::vector<float>> scores = {{9, 1, 8}, {2, 3}, {7, 6, 5, 0}, {4}};
  EXPECT_EQ(counts_of("global", {.budget = 2, .pool = 6, .scores = scores}),
            (std::vector<std::size_t>{2, 0, 3, 1}));
  // Half of a budget of 2 is a row for everyone: 9, 3, 7 and 4; then 8 and 6.
  EXPECT_EQ(counts_of("global:floor=0.5", {.budget = 2, .pool = 6, .scores = scores}),
            (std::vector<std::size_t>{2, 1, 2, 1}));
  EXPECT_EQ(counts_of("global:floor=1", {.budget = 2, .pool = 6, .scores = scores}),
            (std::vector<std::size_t>{2, 2, 2, 1}));
}

TEST(Global, ProtectedRowsAreTheLeastFloorAndCount) {
  EXPECT_EQ(counts_of("global", {.budget = 2,
                                 .pool = 4,
                                 .protected_rows = {0, 2},
                                 .scores = {{5, 5, 5, 5}, {kInf, 9, kInf}}}),
            (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(counts_of("global", {.budget = 1,
                                 .pool = 2,
                                 .protected_rows = {2, 2},
                                 .scores = {{kInf, kInf, 7}, {kInf, kInf}}}),
            (std::vector<std::size_t>{2, 2}))
      << "more protected rows than the pool";
}

TEST(Global, TiesGoToTheLowerHeadAndEverythingFitsIfItFits) {
  const std::vector<std::vector<float>> scores = {{1, 1, 1}, {1, 1, 1}};
  EXPECT_EQ(counts_of("global", {.budget = 2, .pool = 4, .scores = scores}),
            (std::vector<std::size_t>{3, 1}));
  EXPECT_EQ(counts_of("global", {.budget = 9, .pool = 18, .scores = scores}),
            (std::vector<std::size_t>{3, 3}));
}

TEST(Global, DividesByWhatItsOptionSays) {
  const auto unit = [](const char* norm) {
    const AllocatorInfo* info = find_allocator("global");
    const ParamValues::Assignment written("global-norm", norm);
    const auto values = ParamValues::parse(info->name, info->params, {&written, 1});
    return info->make(*values)->score_unit({.mass = 3, .output_norm = 5});
  };
  EXPECT_EQ(unit("none"), 1);
  EXPECT_EQ(unit("layer"), 3);
  EXPECT_EQ(unit("output"), 5);
}

// The rule once more by sorting, on random ragged heads with many ties.
TEST(Global, FollowsThePlainRule) {
  std::mt19937 random(9);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t heads = 1 + random() % 7;
    AllocatorCall call{.budget = 1 + random() % 9, .pool = 1 + random() % 60};
    const std::size_t floor = call.budget / 4;
    std::vector<std::tuple<int, float, std::size_t, std::size_t>> order;  // worse rows later
    for (std::size_t h = 0; h < heads; ++h) {
      call.scores.emplace_back(1 + random() % 20);
      for (float& score : call.scores.back()) score = static_cast<float>(random() % 6);
      std::vector<std::pair<float, std::size_t>> own;
      for (std::size_t i = 0; i < call.scores[h].size(); ++i)
        own.emplace_back(-call.scores[h][i], i);
      std::ranges::sort(own);
      for (std::size_t i = 0; i < own.size(); ++i) {
        order.emplace_back(i < floor ? 0 : 1, i < floor ? 0 : own[i].first, h, own[i].second);
      }
    }
    std::ranges::sort(order);
    std::vector<std::size_t> wanted(heads);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool forced = std::get<0>(order[i]) == 0;
      if (i < call.pool || forced) ++wanted[std::get<2>(order[i])];
    }
    EXPECT_EQ(counts_of("global:floor=0.25", call), wanted) << trial;
  }
}

}  // namespace
}  // namespace restkv
