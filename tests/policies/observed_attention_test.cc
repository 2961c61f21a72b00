// Observed attention: sums over the number of queries that could see the row.

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

// Four tokens: the row of position 0 was seen by all four, the last one by itself only.
TEST(ObservedAttention, WorkedByHand) {
  TestLayer layer({.n_head = 2, .n_kv_head = 1, .rows = 4, .queries = 1});
  layer.column_sums(0) = {2.0F, 1.5F, 0.5F, 0.25F};
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "observed-attention"}, layer.observation()),
            (HeadScores{{0.5F, 0.5F, 0.25F, 0.25F}}));
}

TEST(ObservedAttention, CountsWhatASlidingWindowLetsSee) {
  LayerShape shape{.n_head = 1, .n_kv_head = 1, .rows = 4, .queries = 1};
  shape.attention.sliding_window = 2;
  TestLayer layer(shape);
  layer.column_sums(0) = {2.0F, 1.5F, 0.5F, 0.25F};
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "observed-attention"}, layer.observation()),
            (HeadScores{{1.0F, 0.75F, 0.25F, 0.25F}}));
}

// Rows of an earlier turn are counted from where they stand, whatever is gone between them.
TEST(ObservedAttention, CountsByPosition) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 10, .queries = 1});
  layer.column_sums(0) = {4, 0, 0, 0, 0, 0, 3, 0, 0, 2};
  layer.keep_positions(0, std::vector<Position>{0, 6, 9});
  EXPECT_EQ(scores_of({.policy = "observed-attention"}, layer.observation()),
            (HeadScores{{0.4F, 0.75F, 2.0F}}));
}

}  // namespace
}  // namespace restkv
