// The policies that look at nothing but keys or positions.

#include <cmath>
#include <cstddef>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

TEST(Knorm, PrefersKeysOfSmallNorm) {
  TestLayer layer({.n_head = 2, .n_kv_head = 2, .head_dim = 16, .rows = 3, .queries = 1});
  layer.key(0, 0)[0] = 3;
  layer.key(0, 0)[5] = -4;
  layer.key(0, 1)[15] = 2;
  layer.key(1, 2)[1] = -7;
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "knorm"}, layer.observation()),
            (HeadScores{{-5, -2, 0}, {0, 0, -7}}));
}

TEST(StreamingLlm, PrefersTheNewest) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 9, .queries = 1});
  layer.keep_positions(0, std::vector<Position>{0, 4, 5, 8});
  EXPECT_EQ(scores_of({.policy = "streaming-llm"}, layer.observation()),
            (HeadScores{{0, 4, 5, 8}}));
}

TEST(Random, IsUniformAndDependsOnSeedLayerHeadAndPosition) {
  const TestLayer layer({.n_head = 2, .n_kv_head = 2, .rows = 4000, .queries = 1});
  TestLayer sealed = layer;
  sealed.seal();
  LayerObservation shown = sealed.observation();
  const HeadScores first = scores_of({.policy = "random", .seed = 1}, shown);
  EXPECT_EQ(scores_of({.policy = "random", .seed = 1}, shown), first);
  EXPECT_NE(scores_of({.policy = "random", .seed = 2}, shown), first);
  EXPECT_NE(first[0], first[1]);
  shown.layer = 2;
  EXPECT_NE(scores_of({.policy = "random", .seed = 1}, shown), first);

  // Quarters of the unit interval: 1000 each, give or take 5 standard deviations of 27.4.
  std::vector<int> quarters(4, 0);
  for (const float score : first[0]) {
    ASSERT_GE(score, 0.0F);
    ASSERT_LT(score, 1.0F);
    ++quarters[static_cast<std::size_t>(score * 4)];
  }
  for (const int count : quarters) EXPECT_NEAR(count, 1000, 137);
}

// A row's draw does not change when its neighbours have gone.
TEST(Random, BelongsToThePosition) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 50, .queries = 1});
  layer.seal();
  const auto before = scores_of({.policy = "random"}, layer.observation())[0];
  layer.keep_positions(0, std::vector<Position>{7, 20, 49});
  EXPECT_EQ(scores_of({.policy = "random"}, layer.observation())[0],
            (std::vector<float>{before[7], before[20], before[49]}));
}

}  // namespace
}  // namespace restkv
