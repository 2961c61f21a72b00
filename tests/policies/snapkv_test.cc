// SnapKV against its formula, written down once more in f64, and by hand.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

struct PlainSetting {
  std::size_t kernel = 5;
  bool max = false;
};

std::vector<double> plain_scores(const TestLayer& layer, std::size_t h, std::size_t window,
                                 const PlainSetting& setting) {
  const std::size_t past = plain_past(layer, h, window);
  std::vector<double> mean(past, 0.0);
  for (std::size_t g = 0; g < layer.group(); ++g) {
    for (const auto& row : plain_attention(layer, h * layer.group() + g)) {
      for (std::size_t j = 0; j < past; ++j) {
        mean[j] += row[j] / static_cast<double>(layer.group());
      }
    }
  }
  std::vector<double> pooled(past, 0.0);
  for (long j = 0; j < static_cast<long>(past); ++j) {
    const auto at = static_cast<std::size_t>(j);
    for (long i = 0; i < static_cast<long>(setting.kernel); ++i) {
      const long source = j - static_cast<long>(setting.kernel / 2) + i;
      if (source < 0 || source >= static_cast<long>(past)) continue;
      const double value = mean[static_cast<std::size_t>(source)];
      pooled[at] = setting.max ? std::max(pooled[at], value)
                               : pooled[at] + value / static_cast<double>(setting.kernel);
    }
  }
  return pooled;
}

void expect_scores(const HeadScores& scores, const TestLayer& layer, std::size_t window,
                   const PlainSetting& setting) {
  for (std::size_t h = 0; h < scores.size(); ++h) {
    const auto wanted = plain_scores(layer, h, window, setting);
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      ASSERT_NEAR(scores[h][j], wanted[j], 1e-8 + 1e-4 * wanted[j]) << "head " << h << " row " << j;
    }
    for (std::size_t j = wanted.size(); j < scores[h].size(); ++j) {
      ASSERT_TRUE(std::isfinite(scores[h][j]));
    }
  }
}

TEST(SnapKv, FollowsTheFormula) {
  std::uint32_t seed = 1;
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    for (const std::size_t rows : {9U, 10U, 12U, 50U}) {
      SCOPED_TRACE(testing::Message() << heads << "/" << kv_heads << " rows " << rows);
      const TestLayer layer =
          TestLayer::random({.n_head = heads, .n_kv_head = kv_heads, .rows = rows}, ++seed);
      const LayerObservation& shown = layer.observation();
      expect_scores(scores_of({.policy = "snapkv"}, shown), layer, 8, {});
      expect_scores(scores_of({.policy = "snapkv:pooling=max:kernel=7"}, shown), layer, 8,
                    {.kernel = 7, .max = true});
      expect_scores(scores_of({.policy = "snapkv:kernel=4"}, shown), layer, 8, {.kernel = 4});
      expect_scores(scores_of({.policy = "snapkv:pooling=max:kernel=1"}, shown), layer, 8,
                    {.kernel = 1, .max = true});
    }
  }
}

TEST(SnapKv, FollowsTheFormulaWithSoftcapSlidingWindowRaggedHeadsAndFewQueries) {
  LayerShape shape{.n_head = 4, .n_kv_head = 2, .rows = 60, .queries = 3, .type = KvType::kF16};
  shape.attention.softcap = 1.5F;
  shape.attention.sliding_window = 40;
  TestLayer layer = TestLayer::random(shape, 3);
  std::vector<Position> sparse;
  for (Position p = 10; p < 60; p += p < 44 ? 5 : 1) sparse.push_back(p);
  layer.keep_positions(0, sparse);
  expect_scores(scores_of({.policy = "snapkv"}, layer.observation()), layer, 8, {});
}

// Rows that a cap took away can leave queries of the middle without any visible row.
TEST(SnapKv, AQueryThatSeesNoRowDoesNotMoveTheOthers) {
  LayerShape shape{.n_head = 4, .n_kv_head = 2, .rows = 60};
  shape.attention.sliding_window = 4;
  TestLayer layer = TestLayer::random(shape, 4);
  const std::vector<Position> sparse = {40, 49, 51, 52, 58, 59};  // 56 and 57 see none of them
  layer.keep_positions(0, sparse);
  expect_scores(scores_of({.policy = "snapkv:kernel=1"}, layer.observation()), layer, 8,
                {.kernel = 1});
}

// Keys 0: query 0 of the window sees 4 keys, query 1 sees 5: sums 1/4 + 1/5 = 0.45 for each of the
// three past tokens. Average pooling by 3 counts a zero beyond each edge.
TEST(SnapKv, WorkedByHand) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 5, .queries = 2});
  layer.seal();
  const auto average =
      scores_of({.policy = "snapkv:kernel=3", .window = 2}, layer.observation())[0];
  EXPECT_NEAR(average[0], 0.3, 1e-6);
  EXPECT_NEAR(average[1], 0.45, 1e-6);
  EXPECT_NEAR(average[2], 0.3, 1e-6);
  const auto maximum =
      scores_of({.policy = "snapkv:kernel=3:pooling=max", .window = 2}, layer.observation())[0];
  for (const std::size_t j : {0U, 1U, 2U}) EXPECT_NEAR(maximum[j], 0.45, 1e-6);
}

}  // namespace
}  // namespace restkv
