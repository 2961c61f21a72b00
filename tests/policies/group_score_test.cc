// What the query heads of a group make of a row together, against each query head by itself.

#include <algorithm>

#include <gtest/gtest.h>

#include "engine/query_heads.h"
#include "policies/layers.h"

namespace restkv {
namespace {

// Policies whose scores are made in each query head to the end, or grow with what it makes of a
// row; pooling by one leaves a row alone.
constexpr const char* kPolicies[] = {"rest-kv", "rest-kv:metric=before", "snapkv:kernel=1",
                                     "expected-attention:values=off"};

TEST(GroupScore, IsTheMeanOrTheMaximumOfTheQueryHeads) {
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(5, 1)}) {
    const TestLayer layer =
        TestLayer::random({.n_head = heads, .n_kv_head = kv_heads, .rows = 90}, 5);
    const auto group = static_cast<std::size_t>(heads / kv_heads);
    const QueryHeadView view(layer.observation(), {});
    for (const char* policy : kPolicies) {
      const HeadScores apart = scores_of({.policy = policy}, view.layer());
      const HeadScores mean = scores_of({.policy = policy}, layer.observation());
      const HeadScores most =
          scores_of({.policy = policy, .group_score = GroupScore::kMax}, layer.observation());
      ASSERT_EQ(apart.size(), mean.size() * group);
      for (std::size_t h = 0; h < mean.size(); ++h) {
        // The window's rows, and the first ones of expected attention, hold anything.
        for (std::size_t j = 4; j < 90 - 8; ++j) {
          double sum = 0;
          float largest = apart[h * group][j];
          for (std::size_t g = 0; g < group; ++g) {
            sum += apart[h * group + g][j];
            largest = std::max(largest, apart[h * group + g][j]);
          }
          ASSERT_FLOAT_EQ(most[h][j], largest) << policy << " " << h << " " << j;
          ASSERT_NEAR(mean[h][j], sum / static_cast<double>(group), 1e-5 * (1e-3 + sum))
              << policy << " " << h << " " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace restkv
