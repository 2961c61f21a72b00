// LagKV against its formula, written down once more in f64, and by hand.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

struct PlainSetting {
  std::size_t lag = 8;
  std::size_t sinks = 4;
};

// Softmax over one part of the spread of its rows; `row(j)` gives row j of the head.
template <typename Row>
std::vector<double> plain_part(const Row& row, std::size_t first, std::size_t lag,
                               std::size_t dim) {
  std::vector<double> low(dim, std::numeric_limits<double>::infinity());
  std::vector<double> high(dim, -std::numeric_limits<double>::infinity());
  for (std::size_t j = first + lag; j < first + 2 * lag; ++j) {
    for (std::size_t d = 0; d < dim; ++d) {
      low[d] = std::min<double>(low[d], row(j)[d]);
      high[d] = std::max<double>(high[d], row(j)[d]);
    }
  }
  std::vector<double> spread;
  double sum = 0;
  for (std::size_t j = first; j < first + lag; ++j) {
    std::vector<double> x;
    for (std::size_t d = 0; d < dim; ++d) x.push_back((row(j)[d] - low[d]) / (high[d] - low[d]));
    double mean = 0;
    for (const double value : x) mean += value / static_cast<double>(dim);
    double squares = 0;
    for (const double value : x) squares += (value - mean) * (value - mean);
    spread.push_back(std::exp(std::sqrt(squares / static_cast<double>(dim - 1))));
    sum += spread.back();
  }
  for (double& value : spread) value /= sum;
  return spread;
}

std::vector<double> plain_softmax(const TestLayer& layer, std::size_t h,
                                  const PlainSetting& setting) {
  const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
  const std::size_t rows = layer.positions(h).size();
  const std::size_t sinks = static_cast<std::size_t>(std::ranges::count_if(
      layer.positions(h), [&](Position p) { return p < static_cast<Position>(setting.sinks); }));
  std::vector<double> scores(rows, 1.0);
  for (std::size_t first = sinks; first + 2 * setting.lag <= rows; first += setting.lag) {
    const auto keys =
        plain_part([&](std::size_t j) { return layer.key(h, j); }, first, setting.lag, dim);
    const auto values =
        plain_part([&](std::size_t j) { return layer.value(h, j); }, first, setting.lag, dim);
    for (std::size_t i = 0; i < setting.lag; ++i) scores[first + i] = (keys[i] + values[i]) / 2;
  }
  return scores;
}

TEST(LagKv, FollowsTheFormula) {
  std::uint32_t seed = 40;
  for (const std::size_t rows : {20U, 27U, 28U, 91U}) {
    TestLayer layer = TestLayer::random(
        {.n_head = 4, .n_kv_head = 2, .rows = rows, .type = KvType::kF16}, ++seed);
    std::vector<Position> sparse = {0, 2};
    for (Position p = 3; p < static_cast<Position>(rows); ++p) sparse.push_back(p);
    layer.keep_positions(1, sparse);
    RecordedTrace trace;
    const HeadScores ranks =
        scores_of({.policy = "lagkv:lag=8", .trace = &trace}, layer.observation());
    const HeadScores cross = scores_of({.policy = "lagkv:lag=8:cross=on"}, layer.observation());
    for (std::size_t h = 0; h < ranks.size(); ++h) {
      const auto wanted = plain_softmax(layer, h, {});
      for (std::size_t j = 0; j < wanted.size(); ++j) {
        ASSERT_NEAR(cross[h][j], wanted[j], 1e-5) << "rows " << rows << " row " << j;
        ASSERT_NEAR(trace.of("softmax", static_cast<int>(h))[j], wanted[j], 1e-5);
      }
      const std::size_t sinks = h == 0 ? 4 : 3;  // rows at positions 0 .. 3
      for (std::size_t first = sinks; first + 16 <= wanted.size(); first += 8) {
        for (std::size_t j = first; j < first + 8; ++j) {
          const auto below = std::count_if(wanted.begin() + static_cast<std::ptrdiff_t>(first),
                                           wanted.begin() + static_cast<std::ptrdiff_t>(first + 8),
                                           [&](double other) { return other < wanted[j]; });
          ASSERT_EQ(ranks[h][j], static_cast<float>(below) / 8) << "rows " << rows << " row " << j;
        }
      }
    }
  }
}

// Two parts of 2 tokens. In the second part both channels run from 0 to 2, the others stand still.
// The first token's keys come to (1, 0, ...) after scaling, the second's to (0, 0, ...), so the
// first spreads more and ranks second of two: 1/2.
TEST(LagKv, WorkedByHand) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 5, .queries = 1});
  layer.key(0, 0)[0] = 2;
  layer.key(0, 3)[0] = 2;
  layer.key(0, 3)[1] = 2;
  layer.seal();
  const HeadScores scores = scores_of({.policy = "lagkv:lag=2:sinks=0"}, layer.observation());
  EXPECT_EQ(scores, (HeadScores{{0.5F, 0, 1, 1, 1}}));
}

TEST(LagKv, GivesTheLowerRowTheHigherRankAmongEquals) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 9, .queries = 1});
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "lagkv:lag=4:sinks=1"}, layer.observation()),
            (HeadScores{{1, 0.75F, 0.5F, 0.25F, 0, 1, 1, 1, 1}}));
}

// Below two parts there is nothing to compare with: the first tokens, then the newest.
TEST(LagKv, KeepsTheNewestOfAShortPrompt) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 8, .queries = 1});
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "lagkv:lag=3"}, layer.observation()),
            (HeadScores{{1, 1, 1, 1, 0, 0.25F, 0.5F, 0.75F}}));
}

}  // namespace
}  // namespace restkv
