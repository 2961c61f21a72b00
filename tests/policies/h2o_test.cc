// H2O's score is what the engine has summed up: the sums themselves, and sums that are carried from
// one turn to the next.

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "base/aligned.h"

#include "policies/layers.h"

namespace restkv {
namespace {

TEST(H2o, IsTheAttentionReceived) {
  TestLayer layer({.n_head = 4, .n_kv_head = 2, .rows = 3, .queries = 1});
  layer.column_sums(0) = {2.5F, 0.25F, 1.0F};
  layer.column_sums(1) = {0.5F, 3.0F, 1.0F};
  layer.seal();
  EXPECT_EQ(scores_of({.policy = "h2o"}, layer.observation()),
            (HeadScores{{2.5F, 0.25F, 1.0F}, {0.5F, 3.0F, 1.0F}}));
}

// All queries of a short prompt, in f64: sums of causal attention, mean over the group.
TEST(H2o, FollowsTheFormula) {
  for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
    const std::size_t n = 21;
    TestLayer layer =
        TestLayer::random({.n_head = heads, .n_kv_head = kv_heads, .rows = n, .queries = n}, 4);
    const std::size_t group = layer.group();
    const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
    for (const KernelTable* table : all_tables()) {
      for (std::size_t h = 0; h < static_cast<std::size_t>(kv_heads); ++h) {
        std::vector<float> queries;  // [token][query head of the group]
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t g = 0; g < group; ++g) {
            const auto query = layer.query(h * group + g, i);
            queries.insert(queries.end(), query.begin(), query.end());
          }
        }
        std::vector<std::uint32_t> begin(n, 0);
        std::vector<std::uint32_t> end(n);
        for (std::uint32_t i = 0; i < n; ++i) end[i] = i + 1;
        AlignedArray<float> scratch(prefill_attention_scratch(group, dim));
        std::vector<float>& sums = layer.column_sums(h);
        sums.assign(n, 0.0F);
        const HeadRows& rows = layer.observation().heads[h];
        // Two turns: the second adds to the sums of the first.
        for (const auto& [first, count] : {std::pair(0U, 9U), std::pair(9U, 12U)}) {
          table->column_sums({.block = {.q = queries.data() + first * group * dim,
                                        .token_stride = group * dim,
                                        .n_query = count,
                                        .group = group,
                                        .head_dim = dim,
                                        .keys = {rows.keys, rows.type},
                                        .values = {rows.values, rows.type},
                                        .row_begin = begin.data() + first,
                                        .row_end = end.data() + first,
                                        .rule = layer.shape().attention,
                                        .scratch = scratch.data()},
                              .sums = sums.data()});
        }
      }
      layer.seal();
      const HeadScores scores = scores_of({.policy = "h2o", .kernels = table}, layer.observation());
      for (std::size_t h = 0; h < scores.size(); ++h) {
        std::vector<double> wanted(n, 0.0);
        for (std::size_t g = 0; g < group; ++g) {
          for (const auto& row : plain_attention(layer, h * group + g)) {
            for (std::size_t j = 0; j < n; ++j) wanted[j] += row[j] / static_cast<double>(group);
          }
        }
        for (std::size_t j = 0; j < n; ++j) {
          ASSERT_NEAR(scores[h][j], wanted[j], 1e-4 * wanted[j]) << table->name << " row " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace restkv
