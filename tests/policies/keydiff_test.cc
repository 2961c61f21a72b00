// KeyDiff against its formula, written down once more in f64, and by hand.

#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

double norm(std::span<const double> x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

std::vector<double> plain_scores(const TestLayer& layer, std::size_t h) {
  const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
  const std::size_t rows = layer.positions(h).size();
  Matrix unit;
  std::vector<double> anchor(dim, 0.0);
  for (std::size_t j = 0; j < rows; ++j) {
    const auto key = layer.key(h, j);
    std::vector<double> x(key.begin(), key.end());
    const double length = norm(x);
    for (std::size_t d = 0; d < dim; ++d) {
      x[d] /= length;
      anchor[d] += x[d] / static_cast<double>(rows);
    }
    unit.push_back(x);
  }
  std::vector<double> scores;
  for (const auto& x : unit) {
    scores.push_back(-std::inner_product(x.begin(), x.end(), anchor.begin(), 0.0) / norm(anchor));
  }
  return scores;
}

TEST(KeyDiff, FollowsTheFormula) {
  std::uint32_t seed = 20;
  for (const std::size_t rows : {9U, 60U, 700U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      TestLayer layer = TestLayer::random(
          {.n_head = 4, .n_kv_head = 2, .head_dim = 32, .rows = rows, .type = type}, ++seed);
      layer.keep_positions(1, std::vector<Position>{0, 1, 4, 5, 6, 8});
      const HeadScores scores = scores_of({.policy = "keydiff"}, layer.observation());
      for (std::size_t h = 0; h < scores.size(); ++h) {
        const auto wanted = plain_scores(layer, h);
        ASSERT_EQ(scores[h].size(), wanted.size());
        for (std::size_t j = 0; j < wanted.size(); ++j) {
          ASSERT_NEAR(scores[h][j], wanted[j], 1e-5) << "head " << h << " row " << j;
        }
      }
    }
  }
}

// Unit keys (1,0), (1,0), (0,1): their sum points to (2,1) / sqrt(5). Lengths do not matter.
TEST(KeyDiff, WorkedByHand) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 3, .queries = 1});
  layer.key(0, 0)[0] = 3;
  layer.key(0, 1)[0] = 0.5F;
  layer.key(0, 2)[1] = 7;
  layer.seal();
  const auto scores = scores_of({.policy = "keydiff"}, layer.observation())[0];
  EXPECT_NEAR(scores[0], -2 / std::sqrt(5.0), 1e-6);
  EXPECT_NEAR(scores[1], -2 / std::sqrt(5.0), 1e-6);
  EXPECT_NEAR(scores[2], -1 / std::sqrt(5.0), 1e-6);
}

// Keys that cancel have no direction, and a key of length 0 has none either.
TEST(KeyDiff, KeysWithoutADirectionScoreZero) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 3, .queries = 1});
  layer.key(0, 0)[2] = 2;
  layer.key(0, 2)[2] = -4;
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "keydiff"}, layer.observation()), (HeadScores{{0, 0, 0}}));
}

}  // namespace
}  // namespace restkv
