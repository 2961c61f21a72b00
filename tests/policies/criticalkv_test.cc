// CriticalKV against its formula, written down once more in f64, and by hand.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

// Mean attention of the window, averaged over the group and pooled by 5 with zeros at the edges.
std::vector<double> plain_pooled(const TestLayer& layer, std::size_t h, std::size_t window) {
  const std::size_t past = plain_past(layer, h, window);
  std::vector<double> mean(past, 0.0);
  for (std::size_t g = 0; g < layer.group(); ++g) {
    const Matrix attention = plain_attention(layer, h * layer.group() + g);
    for (const auto& row : attention) {
      for (std::size_t j = 0; j < past; ++j) {
        mean[j] += row[j] / static_cast<double>(layer.group() * attention.size());
      }
    }
  }
  std::vector<double> pooled(past, 0.0);
  for (std::size_t j = 0; j < past; ++j) {
    for (std::size_t i = j >= 2 ? j - 2 : 0; i < std::min(past, j + 3); ++i) {
      pooled[j] += mean[i] / 5;
    }
  }
  return pooled;
}

double plain_size(const TestLayer& layer, std::size_t h, std::size_t j) {
  const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
  double sum = 0;
  for (std::size_t g = 0; g < layer.group(); ++g) {
    for (std::size_t row = 0; row < layer.shape().hidden; ++row) {
      double element = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        const std::size_t column = (h * layer.group() + g) * dim + d;
        element += double{layer.projection(row, column)} * double{layer.value(h, j)[d]};
      }
      sum += std::abs(element);
    }
  }
  return sum / static_cast<double>(layer.group());
}

struct PlainHead {
  std::vector<double> base, size;
};
std::vector<PlainHead> plain_heads(const TestLayer& layer, std::size_t window) {
  std::vector<PlainHead> heads;
  double largest = 0;
  for (std::size_t h = 0; h < static_cast<std::size_t>(layer.shape().n_kv_head); ++h) {
    PlainHead head{.base = plain_pooled(layer, h, window), .size = {}};
    for (const double score : head.base) largest = std::max(largest, score);
    for (std::size_t j = 0; j < layer.positions(h).size(); ++j) {
      head.size.push_back(plain_size(layer, h, j));
    }
    heads.push_back(head);
  }
  for (PlainHead& head : heads) head.base.resize(head.size.size(), largest + 1);
  return heads;
}

std::set<std::size_t> plain_keep(const PlainHead& head, std::size_t budget, std::size_t certain) {
  std::vector<double> second;
  for (std::size_t j = 0; j < head.base.size(); ++j) {
    second.push_back((head.base[j] + 1e-4) * head.size[j]);
  }
  for (const std::size_t j : plain_top(head.base, certain)) second[j] = 1e30;
  const auto top = plain_top(second, budget);
  return {top.begin(), top.end()};
}

TEST(CriticalKv, FollowsTheFormula) {
  std::uint32_t seed = 60;
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      const TestLayer layer = TestLayer::random(
          {.n_head = heads, .n_kv_head = kv_heads, .rows = 150, .type = type}, ++seed);
      const std::vector<PlainHead> wanted = plain_heads(layer, 8);
      for (const std::size_t budget : {16U, 31U, 90U}) {
        RecordedTrace trace;
        const HeadScores scores =
            scores_of({.policy = "criticalkv", .budget = budget, .threads = 2, .trace = &trace},
                      layer.observation());
        for (std::size_t h = 0; h < scores.size(); ++h) {
          for (std::size_t j = 0; j < scores[h].size(); ++j) {
            ASSERT_NEAR(trace.of("base", static_cast<int>(h))[j], wanted[h].base[j],
                        1e-6 + 1e-4 * wanted[h].base[j]);
            ASSERT_NEAR(trace.of("wov_l1", static_cast<int>(h))[j], wanted[h].size[j],
                        1e-4 * wanted[h].size[j]);
          }
          const auto top =
              plain_top(std::vector<double>(scores[h].begin(), scores[h].end()), budget);
          EXPECT_EQ(std::set<std::size_t>(top.begin(), top.end()),
                    plain_keep(wanted[h], budget, budget / 2))
              << "budget " << budget << " head " << h;
        }
      }
    }
  }
}

// Keys 0, one query of the newest token over 4 tokens: each past token gets 1/4. Values 1, 3 and 2
// times a unit vector under the identity: sizes 1, 3, 2. A budget of 2 makes the window's token
// certain, and the rest goes by size.
TEST(CriticalKv, WorkedByHand) {
  TestLayer layer(
      {.n_head = 1, .n_kv_head = 1, .hidden = 16, .rows = 4, .queries = 1, .type = KvType::kF32});
  for (std::size_t d = 0; d < 16; ++d) layer.projection(d, d) = 1;
  layer.value(0, 0)[3] = 1;
  layer.value(0, 1)[4] = -3;
  layer.value(0, 2)[0] = 2;
  layer.seal();
  const auto scores =
      scores_of({.policy = "criticalkv:kernel=1:epsilon=0.25", .budget = 2, .window = 1},
                layer.observation())[0];
  EXPECT_NEAR(scores[0], 0.5, 1e-6);
  EXPECT_NEAR(scores[1], 1.5, 1e-6);
  EXPECT_NEAR(scores[2], 1.0, 1e-6);
  EXPECT_NEAR(scores[3], 3 * 1.5, 1e-6);
}

// With outputs so large that f32 cannot hold a base score beside them, a head that gets fewer rows
// than its certain ones still keeps the best of them.
TEST(CriticalKv, CertainTokensKeepTheirOrder) {
  constexpr std::size_t kWindow = 8;
  constexpr std::size_t kCertain = 60;
  TestLayer layer = TestLayer::random(
      {.n_head = 4, .n_kv_head = 2, .hidden = 64, .rows = 120, .type = KvType::kF32}, 5);
  for (std::size_t row = 0; row < layer.shape().hidden; ++row) {
    for (std::size_t column = 0; column < layer.shape().hidden; ++column) {
      layer.projection(row, column) *= 1e4F;
    }
  }
  layer.seal();
  const auto heads = plain_heads(layer, kWindow);
  const auto scores =
      scores_of({.policy = "criticalkv:first-stage=1", .budget = kCertain, .window = kWindow},
                layer.observation());
  for (std::size_t h = 0; h < heads.size(); ++h) {
    for (const std::size_t few : {std::size_t{12}, std::size_t{30}, kCertain}) {
      EXPECT_EQ(plain_top(std::vector<double>(scores[h].begin(), scores[h].end()), few),
                plain_top(heads[h].base, few))
          << "head " << h << ", " << few << " rows";
    }
  }
}

}  // namespace
}  // namespace restkv
