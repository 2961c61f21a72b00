// TOVA against its formula, written down once more in f64, and by hand.

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

// Mean attention of the newest query by position, over the query heads that hold the position.
std::map<Position, double> plain_scores(const TestLayer& layer) {
  std::map<Position, double> sums;
  std::map<Position, double> heads;
  for (std::size_t head = 0; head < static_cast<std::size_t>(layer.shape().n_head); ++head) {
    const std::vector<double> row = plain_attention(layer, head).back();
    const auto& positions = layer.positions(head / layer.group());
    for (std::size_t j = 0; j < row.size(); ++j) {
      sums[positions[j]] += row[j];
      heads[positions[j]] += 1;
    }
  }
  for (auto& [position, sum] : sums) sum /= heads[position];
  return sums;
}

void expect_scores(const TestLayer& layer) {
  const HeadScores scores = scores_of({.policy = "tova"}, layer.observation());
  const auto wanted = plain_scores(layer);
  for (std::size_t h = 0; h < scores.size(); ++h) {
    for (std::size_t j = 0; j < scores[h].size(); ++j) {
      const double score = wanted.at(layer.positions(h)[j]);
      ASSERT_NEAR(scores[h][j], score, 1e-8 + 1e-4 * score) << "head " << h << " row " << j;
    }
  }
}

TEST(Tova, FollowsTheFormula) {
  std::uint32_t seed = 1;
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    LayerShape shape{.n_head = heads, .n_kv_head = kv_heads, .rows = 30, .queries = 3};
    expect_scores(TestLayer::random(shape, ++seed));
    shape.type = KvType::kF16;
    shape.attention.softcap = 2;
    shape.attention.sliding_window = 20;
    expect_scores(TestLayer::random(shape, ++seed));
  }
}

TEST(Tova, MeansOverTheHeadsThatHoldAPosition) {
  TestLayer layer = TestLayer::random({.n_head = 4, .n_kv_head = 2, .rows = 20, .queries = 1}, 9);
  layer.keep_positions(0, std::vector<Position>{0, 3, 4, 18, 19});
  layer.keep_positions(1, std::vector<Position>{0, 2, 3, 5, 6, 18, 19});
  expect_scores(layer);
}

// While generating, the engine shows what decode has worked out already, and neither keys nor
// queries.
TEST(Tova, TakesTheAttentionThatItIsShown) {
  for (const bool same : {true, false}) {
    TestLayer layer = TestLayer::random({.n_head = 6, .n_kv_head = 2, .rows = 20, .queries = 1}, 9);
    layer.keep_positions(0, std::vector<Position>{0, 3, 4, 6, 18, 19});
    layer.keep_positions(1, same ? layer.positions(0) : std::vector<Position>{0, 2, 3, 5, 18, 19});
    const HeadScores wanted = scores_of({.policy = "tova"}, layer.observation());

    HeadScores means(2, std::vector<float>(6, 0.0F));
    for (std::size_t head = 0; head < 6; ++head) {
      const std::vector<double> row = plain_attention(layer, head).back();
      for (std::size_t j = 0; j < row.size(); ++j) {
        means[head / 3][j] += static_cast<float>(row[j] / 3);
      }
    }
    std::vector<HeadRows> heads;
    for (std::size_t h = 0; h < 2; ++h) {
      heads.push_back({.keys = nullptr, .values = nullptr, .positions = layer.positions(h)});
    }
    const std::vector<std::span<const float>> shown(means.begin(), means.end());
    LayerObservation observation = layer.observation();
    observation.heads = heads;
    observation.window_queries = {};
    observation.newest_attention = shown;
    const HeadScores scores = scores_of({.policy = "tova"}, observation);
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t j = 0; j < 6; ++j) {
        EXPECT_NEAR(scores[h][j], wanted[h][j], 1e-6) << "head " << h << " row " << j;
      }
    }
  }
}

// One KV head, two query heads, scale 1. The newest query of head 0 is 0: 1/3 for each of 3 rows.
// That of head 1 is ln 2 along keys (0, 1, 2): weights 1, 2, 4 of 7.
TEST(Tova, WorkedByHand) {
  TestLayer layer({.n_head = 2,
                   .n_kv_head = 1,
                   .head_dim = 1,
                   .rows = 3,
                   .queries = 2,
                   .attention = {.scale = 1, .softcap = 0, .sliding_window = 0}});
  for (std::size_t j = 0; j < 3; ++j) layer.key(0, j)[0] = static_cast<float>(j);
  for (std::size_t head = 0; head < 2; ++head) layer.query(head, 0)[0] = 99;  // not the newest
  layer.query(1, 1)[0] = 0.6931472F;
  layer.seal();
  const auto scores = scores_of({.policy = "tova"}, layer.observation())[0];
  EXPECT_NEAR(scores[0], (1.0 / 3 + 1.0 / 7) / 2, 1e-6);
  EXPECT_NEAR(scores[1], (1.0 / 3 + 2.0 / 7) / 2, 1e-6);
  EXPECT_NEAR(scores[2], (1.0 / 3 + 4.0 / 7) / 2, 1e-6);
}

}  // namespace
}  // namespace restkv
