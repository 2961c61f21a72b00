// ReST-KV against its formulas, written down once more in f64, and by hand.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

struct PlainSetting {
  double alpha = 0.3;
  double tau = 1;
  bool before = false;
  bool wo = true;
  bool ema = true;
  std::size_t kernel = 5;
  double scale = 2000;
};

using Row = std::vector<double>;

// Blends rows as the moving average or the mean does.
Row blended(const Matrix& rows, const PlainSetting& setting) {
  Row result = rows.front();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < result.size(); ++j) {
      result[j] = setting.ema ? setting.alpha * rows[i][j] + (1 - setting.alpha) * result[j]
                              : result[j] + rows[i][j];
    }
  }
  if (!setting.ema) {
    for (double& value : result) value /= static_cast<double>(rows.size());
  }
  return result;
}

Row weighted_values(const TestLayer& layer, std::size_t h, const Row& weights) {
  Row sum(static_cast<std::size_t>(layer.shape().head_dim), 0.0);
  for (std::size_t j = 0; j < weights.size(); ++j) {
    for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += weights[j] * layer.value(h, j)[d];
  }
  return sum;
}

// | W_o^h (center - v_j) |, with the full projection.
double distance(const TestLayer& layer, std::size_t head, const Row& center, std::size_t j,
                bool wo) {
  const std::size_t dim = center.size();
  double squares = 0;
  for (std::size_t row = 0; row < (wo ? layer.shape().hidden : dim); ++row) {
    double component = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double weight = wo ? layer.projection(row, head * dim + d) : (row == d ? 1.0 : 0.0);
      component += weight * (center[d] - layer.value(head / layer.group(), j)[d]);
    }
    squares += component * component;
  }
  return std::sqrt(squares);
}

Row raw_scores(const TestLayer& layer, std::size_t head, const Matrix& attention, std::size_t past,
               const PlainSetting& setting) {
  const std::size_t h = head / layer.group();
  const auto moves = [&](const Row& shares, const Row& center) {
    Row result(past);
    for (std::size_t j = 0; j < past; ++j) {
      result[j] = shares[j] / (1 - shares[j]) *
                  std::pow(distance(layer, head, center, j, setting.wo), setting.tau);
    }
    return result;
  };
  if (setting.before) {
    Matrix rows;
    for (const Row& row : attention) rows.push_back(moves(row, weighted_values(layer, h, row)));
    return blended(rows, setting);
  }
  Row ema = blended(attention, setting);
  ema.resize(past);
  return moves(ema, weighted_values(layer, h, ema));
}

// In whole numbers up to the last division, so that multiples of the scale are met exactly.
double drift(const Matrix& attention, std::size_t count) {
  const auto index_sum = [&](const Row& row) {
    const auto top = plain_top(row, count);
    return static_cast<double>(std::accumulate(top.begin(), top.end(), std::size_t{0}));
  };
  const std::size_t half = attention.size() / 2;
  double difference = 0;
  for (std::size_t i = 0; i < half; ++i) {
    difference += index_sum(attention[i]) - index_sum(attention[attention.size() - half + i]);
  }
  return difference / static_cast<double>(half * std::min(count, attention.front().size()));
}

Row plain_smooth(const Row& raw, double t, const PlainSetting& setting) {
  const long steps = std::lround(std::floor(std::abs(t) / setting.scale));
  const long width = std::max(static_cast<long>(setting.kernel), 2 * steps + 1);
  const long floor = std::lround(std::floor(t / setting.scale));
  const long shift = t > 0 ? floor : floor + 1;
  const long last = static_cast<long>(raw.size()) - 1;
  Row result(raw.size(), 0.0);
  for (long j = 0; j <= last; ++j) {
    for (long i = 0; i < width; ++i) {
      result[static_cast<std::size_t>(j)] +=
          raw[static_cast<std::size_t>(std::clamp(j + shift - width / 2 + i, 0L, last))];
    }
    result[static_cast<std::size_t>(j)] /= static_cast<double>(width);
  }
  return result;
}

// Scores of KV head h.
Row plain_scores(const TestLayer& layer, std::size_t h, std::size_t budget, std::size_t window,
                 const PlainSetting& setting) {
  const std::size_t past = plain_past(layer, h, window);
  Row mean(past, 0.0);
  for (std::size_t g = 0; g < layer.group(); ++g) {
    const std::size_t head = h * layer.group() + g;
    const Matrix attention = plain_attention(layer, head);
    const double t = drift(attention, budget - window);
    const Row smooth = plain_smooth(raw_scores(layer, head, attention, past, setting), t, setting);
    for (std::size_t j = 0; j < past; ++j) {
      mean[j] += smooth[j] / static_cast<double>(layer.group());
    }
  }
  return mean;
}

void expect_scores(const HeadScores& scores, const TestLayer& layer, std::size_t budget,
                   std::size_t window, const PlainSetting& setting) {
  for (std::size_t h = 0; h < scores.size(); ++h) {
    const Row wanted = plain_scores(layer, h, budget, window, setting);
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      ASSERT_NEAR(scores[h][j], wanted[j], 1e-7 + 2e-4 * std::abs(wanted[j]))
          << "head " << h << " row " << j;
    }
    for (std::size_t j = wanted.size(); j < scores[h].size(); ++j) {
      ASSERT_TRUE(std::isfinite(scores[h][j]));
    }
  }
}

struct Variation {
  const char* options;
  PlainSetting setting;
};

TEST(RestKv, FollowsTheFormula) {
  const Variation variations[] = {
      {"", {}},
      {":alpha=0.7:tau=2", {.alpha = 0.7, .tau = 2}},
      {":metric=before", {.before = true}},
      {":wo=off", {.wo = false}},
      {":ema=off", {.ema = false}},
      {":metric=before:ema=off:wo=off", {.before = true, .wo = false, .ema = false}},
      {":kernel=4:scale=3", {.kernel = 4, .scale = 3}},
      {":kernel=1:scale=1", {.kernel = 1, .scale = 1}},
      {":kernel=99", {.kernel = 99}},
  };
  std::uint32_t seed = 1;
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    const TestLayer layer = TestLayer::random(
        {.n_head = heads, .n_kv_head = kv_heads, .rows = 77, .queries = 8, .type = KvType::kF16},
        ++seed);
    for (const Variation& variation : variations) {
      SCOPED_TRACE(testing::Message() << heads << "/" << kv_heads << variation.options);
      const auto scores =
          scores_of({.policy = std::string("rest-kv") + variation.options, .budget = 20},
                    layer.observation());
      expect_scores(scores, layer, 20, 8, variation.setting);
    }
  }
}

TEST(RestKv, FollowsTheFormulaWithSoftcapSlidingWindowAndRaggedHeads) {
  LayerShape shape{.n_head = 4, .n_kv_head = 2, .rows = 90, .queries = 8};
  shape.attention.softcap = 2.0F;
  shape.attention.sliding_window = 70;
  TestLayer layer = TestLayer::random(shape, 5);
  std::vector<Position> sparse;
  for (Position p = 20; p < 90; p += p < 60 ? 3 : 1) sparse.push_back(p);
  layer.keep_positions(1, sparse);
  expect_scores(scores_of({.policy = "rest-kv:scale=2", .budget = 20}, layer.observation()), layer,
                20, 8, {.scale = 2});
}

// A sliding window shorter than the observation window: every row is in the window, and the oldest
// queries see none of them.
TEST(RestKv, HasNothingToSayWhereAllRowsAreInTheWindow) {
  LayerShape shape{.n_head = 2, .n_kv_head = 1, .rows = 40, .queries = 12};
  shape.attention.sliding_window = 10;
  TestLayer layer = TestLayer::random(shape, 6);
  std::vector<Position> last(10);
  std::iota(last.begin(), last.end(), 30);
  layer.keep_positions(0, last);
  for (const char* policy : {"rest-kv", "snapkv"}) {
    const auto scores =
        scores_of({.policy = policy, .budget = 6, .window = 12}, layer.observation());
    EXPECT_EQ(scores[0], std::vector<float>(10, 0.0F)) << policy;
  }
}

// A short turn shows fewer queries than the window has rows, and an odd number of them.
TEST(RestKv, TakesFewerQueriesThanTheWindow) {
  for (const std::size_t queries : {1U, 2U, 3U, 5U}) {
    const TestLayer layer = TestLayer::random({.rows = 40, .queries = queries}, 7);
    const auto scores = scores_of({.policy = "rest-kv:scale=1", .budget = 20}, layer.observation());
    if (queries > 1) {
      expect_scores(scores, layer, 20, 8, {.scale = 1});
    } else {
      for (const float score : scores[0]) EXPECT_TRUE(std::isfinite(score));
    }
  }
}

// Two past tokens and a window of two, head_dim 1, keys 0: every query spreads its attention
// evenly.
//   row 0 sees 3 keys: 1/3 each; row 1 sees 4: 1/4 each
//   alpha 0.3: a = 0.3 / 4 + 0.7 / 3 = 0.30833; o = a * (1 + 3) = 1.23333
//   W_o = 2: distances 2 * |1.23333 - 1| = 0.46667 and 2 * |1.23333 - 3| = 3.53333
//   odds a / (1 - a) = 0.445783: raw 0.208032 and 1.575100
TEST(RestKv, WorkedByHand) {
  TestLayer layer({.n_head = 1,
                   .n_kv_head = 1,
                   .head_dim = 1,
                   .hidden = 1,
                   .rows = 4,
                   .queries = 2,
                   .attention = {.scale = 1, .softcap = 0, .sliding_window = 0}});
  layer.value(0, 0)[0] = 1;
  layer.value(0, 1)[0] = 3;
  layer.value(0, 2)[0] = 50;  // the window's own values take no part
  layer.value(0, 3)[0] = 70;
  layer.projection(0, 0) = 2;
  layer.seal();
  RecordedTrace trace;
  const auto scores =
      scores_of({.policy = "rest-kv:kernel=3", .budget = 3, .window = 2, .trace = &trace},
                layer.observation());
  EXPECT_NEAR(trace.of("ema", 0)[0], 0.308333, 1e-6);
  EXPECT_NEAR(trace.of("norm", 0)[0], 0.466667, 1e-6);
  EXPECT_NEAR(trace.of("norm", 0)[1], 3.533333, 1e-5);
  EXPECT_NEAR(trace.of("raw", 0)[0], 0.208032, 1e-6);
  EXPECT_NEAR(trace.of("raw", 0)[1], 1.575100, 1e-5);
  // One entry is chosen of each row, the lowest of equals: t is exactly 0, which shifts by one. The
  // filter of 3 then reads 0, 1, 1 and 1, 1, 1 (the last value stands again).
  EXPECT_EQ(trace.of("t", 0)[0], 0.0F);
  EXPECT_EQ(trace.of("shift", 0)[0], 1.0F);
  EXPECT_EQ(trace.of("kernel", 0)[0], 3.0F);
  EXPECT_NEAR(scores[0][0], (0.208032 + 2 * 1.575100) / 3, 1e-5);
  EXPECT_NEAR(scores[0][1], 1.575100, 1e-5);
}

// The first half of the window looks at token 6, the second at token 1.
TEST(RestKv, TheDriftShiftsAndWidensTheFilter) {
  TestLayer layer({.n_head = 1,
                   .n_kv_head = 1,
                   .head_dim = 2,
                   .hidden = 2,
                   .rows = 12,
                   .queries = 4,
                   .attention = {.scale = 1, .softcap = 0, .sliding_window = 0}});
  layer.key(0, 6)[0] = 4;
  layer.key(0, 1)[1] = 4;
  for (const std::size_t i : {0U, 1U}) layer.query(0, i)[0] = 1;
  for (const std::size_t i : {2U, 3U}) layer.query(0, i)[1] = 1;
  layer.seal();
  const auto filter_at = [&](const char* policy) {
    RecordedTrace trace;
    scores_of({.policy = policy, .budget = 5, .window = 4, .trace = &trace}, layer.observation());
    return std::vector<float>{trace.of("t", 0)[0], trace.of("kernel", 0)[0],
                              trace.of("shift", 0)[0]};
  };
  EXPECT_EQ(filter_at("rest-kv:scale=2"), (std::vector<float>{5, 5, 2}));
  EXPECT_EQ(filter_at("rest-kv:scale=1:kernel=3"), (std::vector<float>{5, 11, 5}));
  EXPECT_EQ(filter_at("rest-kv:scale=6"), (std::vector<float>{5, 5, 0}));
  for (std::size_t i = 0; i < 4; ++i) std::swap(layer.query(0, i)[0], layer.query(0, i)[1]);
  layer.seal();
  EXPECT_EQ(filter_at("rest-kv:scale=2"), (std::vector<float>{-5, 5, -2}));
  EXPECT_EQ(filter_at("rest-kv:scale=6"), (std::vector<float>{-5, 5, 0}));
}

TEST(RestKv, StaysFiniteWhenOneTokenTakesAllAttention) {
  for (const char* policy : {"rest-kv", "rest-kv:metric=before", "rest-kv:tau=8"}) {
    TestLayer layer({.rows = 20});
    for (std::size_t h = 0; h < 2; ++h) {
      for (float& x : layer.key(h, 3)) x = 500;
      for (std::size_t j = 0; j < 20; ++j) layer.value(h, j)[0] = static_cast<float>(j) * 1e6F;
    }
    for (std::size_t head = 0; head < 4; ++head) {
      for (std::size_t i = 0; i < 8; ++i) {
        for (float& x : layer.query(head, i)) x = 500;
      }
      for (std::size_t d = 0; d < 16; ++d) layer.projection(d, head * 16 + d) = 1;
    }
    layer.seal();
    for (const KernelTable* table : all_tables()) {
      const auto scores =
          scores_of({.policy = std::string(policy) + ":kernel=1", .budget = 10, .kernels = table},
                    layer.observation());
      for (const auto& head : scores) {
        for (const float score : head) ASSERT_TRUE(std::isfinite(score)) << policy;
      }
    }
  }
}

TEST(RestKv, HasPlainFiltersToo) {
  const TestLayer layer = TestLayer::random({.n_head = 2, .n_kv_head = 2, .rows = 30}, 8);
  const auto none =
      scores_of({.policy = "rest-kv:smoothing=none", .budget = 12}, layer.observation())[0];
  const auto average =
      scores_of({.policy = "rest-kv:smoothing=avg:kernel=3", .budget = 12}, layer.observation())[0];
  const auto maximum =
      scores_of({.policy = "rest-kv:smoothing=max:kernel=3", .budget = 12}, layer.observation())[0];
  for (std::size_t j = 0; j < 22; ++j) {
    const float left = j > 0 ? none[j - 1] : 0;
    const float right = j < 21 ? none[j + 1] : 0;
    EXPECT_NEAR(average[j], (left + none[j] + right) / 3, 1e-6F * average[j]);
    EXPECT_EQ(maximum[j], std::max({left, none[j], right}));
  }
}

}  // namespace
}  // namespace restkv
