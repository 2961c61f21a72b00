// Expected attention against its formula, written down once more in f64 with whole matrices, and by
// hand.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

struct PlainSetting {
  int future = 512;
  bool covariance = true;
  bool values = true;
  double epsilon = 0;
};

Matrix mean_rotation(const Rotation& rotation, std::size_t dim, Position first, int count) {
  Matrix r(dim, std::vector<double>(dim, 0.0));
  const std::size_t pairs = rotation.frequencies.size();
  for (std::size_t d = 2 * pairs; d < dim; ++d) r[d][d] = 1;
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::size_t a = rotation.adjacent ? 2 * i : i;
    const std::size_t b = rotation.adjacent ? 2 * i + 1 : i + pairs;
    for (int t = 0; t < count; ++t) {
      const double angle = rotation.frequencies[i] * (first + t);
      r[a][a] += std::cos(angle) * rotation.magnitude / count;
      r[b][b] += std::cos(angle) * rotation.magnitude / count;
      r[a][b] -= std::sin(angle) * rotation.magnitude / count;
      r[b][a] += std::sin(angle) * rotation.magnitude / count;
    }
  }
  return r;
}

std::vector<double> plain_attention_of(const TestLayer& layer, const LayerObservation& shown,
                                       std::size_t head, const PlainSetting& setting) {
  const auto dim = static_cast<std::size_t>(shown.head_dim);
  const std::size_t h = head / layer.group();
  const auto r =
      mean_rotation(shown.rotation, dim, static_cast<Position>(layer.shape().rows), setting.future);
  const auto mean = shown.query_statistics.means.row(head);
  const auto covariance = shown.query_statistics.covariances.plane(head);
  const double scale = shown.attention.scale;
  std::vector<double> z;
  for (std::size_t j = 0; j < layer.positions(h).size(); ++j) {
    if (layer.positions(h)[j] < 4) continue;
    // The key turned by the transposed matrix, then held against mean and covariance.
    std::vector<double> key(dim, 0.0);
    for (std::size_t a = 0; a < dim; ++a) {
      for (std::size_t b = 0; b < dim; ++b) key[b] += r[a][b] * double{layer.key(h, j)[a]};
    }
    double first = 0;
    double second = 0;
    for (std::size_t a = 0; a < dim; ++a) {
      first += key[a] * mean[a];
      for (std::size_t b = 0; b < dim; ++b) second += key[a] * covariance.row(a)[b] * key[b];
    }
    z.push_back(scale * first + (setting.covariance ? scale * scale * second / 2 : 0));
  }
  const double most = *std::ranges::max_element(z);
  double sum = 0;
  for (double& value : z) sum += value = std::exp(value - most);
  for (double& value : z) value /= sum;
  return z;
}

void expect_scores(const TestLayer& layer, const LayerObservation& shown,
                   const std::string& options, const PlainSetting& setting) {
  const HeadScores scores =
      scores_of({.policy = "expected-attention" + options, .threads = 2}, shown);
  float largest = 0;
  for (std::size_t h = 0; h < scores.size(); ++h) {
    const std::size_t start = static_cast<std::size_t>(
        std::ranges::count_if(layer.positions(h), [](Position p) { return p < 4; }));
    std::vector<double> mean(scores[h].size() - start, 0.0);
    for (std::size_t g = 0; g < layer.group(); ++g) {
      const auto one = plain_attention_of(layer, shown, h * layer.group() + g, setting);
      for (std::size_t j = 0; j < mean.size(); ++j) {
        mean[j] += one[j] / static_cast<double>(layer.group());
      }
    }
    for (std::size_t j = 0; j < mean.size(); ++j) {
      double squares = 0;
      for (const float x : layer.value(h, start + j)) squares += double{x} * double{x};
      const double wanted = (mean[j] + setting.epsilon) * (setting.values ? std::sqrt(squares) : 1);
      ASSERT_NEAR(scores[h][start + j], wanted, 1e-8 + 2e-5 * wanted) << options << " row " << j;
      largest = std::max(largest, scores[h][start + j]);
    }
  }
  for (std::size_t h = 0; h < scores.size(); ++h) {
    for (std::size_t j = 0; layer.positions(h)[j] < 4; ++j) EXPECT_EQ(scores[h][j], largest + 1);
  }
}

TEST(ExpectedAttention, FollowsTheFormula) {
  std::uint32_t seed = 80;
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    TestLayer layer = TestLayer::random(
        {.n_head = heads, .n_kv_head = kv_heads, .rows = 70, .queries = 40}, ++seed);
    std::vector<Position> sparse = {1};
    for (Position p = 5; p < 70; p += p < 60 ? 3 : 1) sparse.push_back(p);
    layer.keep_positions(0, sparse);
    const LayerObservation& shown = layer.observation();
    expect_scores(layer, shown, "", {});
    expect_scores(layer, shown, ":future=3", {.future = 3});
    expect_scores(layer, shown, ":covariance=off", {.covariance = false});
    expect_scores(layer, shown, ":values=off:epsilon=0.02", {.values = false, .epsilon = 0.02});
  }
}

// Fewer queries than dimensions: the covariance has no full rank. Pairs side by side, part of a
// head that is not turned, and a rotation that stretches.
TEST(ExpectedAttention, FollowsTheFormulaForOtherRotationsAndFewQueries) {
  for (const std::size_t queries : {1U, 3U, 8U}) {
    const TestLayer layer = TestLayer::random({.rows = 50, .queries = queries}, 90);
    LayerObservation shown = layer.observation();
    shown.rotation.adjacent = true;
    expect_scores(layer, shown, "", {});
    shown.rotation.frequencies = shown.rotation.frequencies.first(5);
    shown.rotation.magnitude = 1.3;
    expect_scores(layer, shown, "", {});
    shown.rotation.adjacent = false;
    expect_scores(layer, shown, "", {});
  }
}

// No rotation, a mean of (1, 0, ...), no spread and a scale of 1/4: keys of 4 ln 2 and 0 in the
// first element are expected to get weights 2 : 1; the values are 3 and 6 long.
TEST(ExpectedAttention, WorkedByHand) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 6, .queries = 1});
  layer.query(0, 0)[0] = 1;
  layer.key(0, 4)[0] = 4 * std::log(2.0F);
  layer.value(0, 4)[2] = 3;
  layer.value(0, 5)[7] = -6;
  layer.seal();
  LayerObservation shown = layer.observation();
  shown.rotation.frequencies = {};
  const auto scores = scores_of({.policy = "expected-attention"}, shown)[0];
  EXPECT_NEAR(scores[4], 2, 1e-5);
  EXPECT_NEAR(scores[5], 2, 1e-5);
  for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(scores[j], 3, 1e-5);
}

}  // namespace
}  // namespace restkv
