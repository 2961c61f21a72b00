// What a piece of the replay makes of the rows before it, against the formula in f64.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/layers.h"

namespace restkv {
namespace {

HeadScores replayed(std::string_view policy, const TestLayer& layer, HeadScores worth,
                    int threads = 1, const KernelTable& kernels = best_table()) {
  const NamedParams named = parse_named_params(policy).value();
  const PolicyInfo* info = find_policy(named.name);
  const auto scorer =
      info->make(ParamValues::parse(info->name, info->params, named.assignments).value());
  const Threads pool(threads);
  const std::vector<std::span<float>> views(worth.begin(), worth.end());
  scorer->replay(layer.observation(), {.window = 8, .kernels = &kernels, .threads = &pool}, views);
  return worth;
}

// The newest rows are the piece's own; all before them are judged.
HeadScores nothing_yet(const TestLayer& layer) {
  HeadScores worth;
  for (int h = 0; h < layer.shape().n_kv_head; ++h) {
    const auto at = static_cast<std::size_t>(h);
    worth.emplace_back(layer.positions(at).size() - layer.shape().queries, 0.0F);
  }
  return worth;
}

// |W_o^h (o - v_j)|
double move_length(const TestLayer& layer, std::size_t head, const std::vector<double>& output,
                   std::size_t row) {
  const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
  const auto value = layer.value(head / layer.group(), row);
  double sum = 0;
  for (std::size_t e = 0; e < layer.shape().hidden; ++e) {
    double element = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      element += double{layer.projection(e, head * dim + d)} * (output[d] - value[d]);
    }
    sum += element * element;
  }
  return std::sqrt(sum);
}

std::vector<double> plain_worth(const TestLayer& layer, std::size_t h, bool rest) {
  const auto dim = static_cast<std::size_t>(layer.shape().head_dim);
  std::vector<double> worth(layer.positions(h).size() - layer.shape().queries, 0.0);
  for (std::size_t g = 0; g < layer.group(); ++g) {
    const std::size_t head = h * layer.group() + g;
    for (const std::vector<double>& shares : plain_attention(layer, head)) {
      std::vector<double> output(dim, 0.0);
      for (std::size_t j = 0; j < shares.size(); ++j) {
        for (std::size_t d = 0; d < dim; ++d) output[d] += shares[j] * layer.value(h, j)[d];
      }
      for (std::size_t j = 0; j < worth.size(); ++j) {
        const double odds = shares[j] / (1 - shares[j]);
        worth[j] =
            std::max(worth[j], rest ? odds * move_length(layer, head, output, j) : shares[j]);
      }
    }
  }
  return worth;
}

const std::vector<LayerShape>& shapes() {
  static const std::vector<LayerShape> all = {
      {.n_head = 4, .n_kv_head = 2, .rows = 60, .queries = 9},
      {.n_head = 3, .n_kv_head = 1, .rows = 100, .queries = 70},
      {.n_head = 2,
       .n_kv_head = 2,
       .rows = 80,
       .queries = 20,
       .attention = {.scale = 0.25F, .softcap = 3, .sliding_window = 30}},
      {.n_head = 4, .n_kv_head = 2, .rows = 50, .queries = 1, .type = KvType::kF16},
  };
  return all;
}

TEST(KvZip, ARowIsWorthTheLargestThatAQueryFinds) {
  std::uint32_t seed = 40;
  for (const LayerShape& shape : shapes()) {
    TestLayer layer = TestLayer::random(shape, ++seed);
    for (const bool rest : {false, true}) {
      const HeadScores found =
          replayed(rest ? "kvzip:score=rest" : "kvzip", layer, nothing_yet(layer));
      for (std::size_t h = 0; h < found.size(); ++h) {
        const std::vector<double> wanted = plain_worth(layer, h, rest);
        const double most = *std::ranges::max_element(wanted);
        ASSERT_EQ(found[h].size(), wanted.size());
        for (std::size_t j = 0; j < wanted.size(); ++j) {
          ASSERT_NEAR(found[h][j], wanted[j], 1e-5 * most) << "head " << h << " row " << j;
        }
      }
    }
  }
}

TEST(KvZip, WhatARowWasWorthStays) {
  const TestLayer layer = TestLayer::random(shapes()[0], 50);
  HeadScores before = nothing_yet(layer);
  const HeadScores found = replayed("kvzip", layer, before);
  before[0][3] = 7;
  before[1][5] = found[1][5] / 2;
  HeadScores wanted = found;
  wanted[0][3] = 7;
  EXPECT_EQ(replayed("kvzip", layer, before), wanted);
}

TEST(KvZip, ReplaysTheSameWithAnyNumberOfThreadsAndAboutTheSameUnderEveryTable) {
  const TestLayer layer = TestLayer::random(shapes()[0], 51);
  for (const char* policy : {"kvzip", "kvzip:score=rest"}) {
    const HeadScores wanted = replayed(policy, layer, nothing_yet(layer));
    for (const int threads : {2, 3, 7}) {
      EXPECT_EQ(replayed(policy, layer, nothing_yet(layer), threads), wanted);
    }
    for (const KernelTable* table : all_tables()) {
      const HeadScores found = replayed(policy, layer, nothing_yet(layer), 1, *table);
      for (std::size_t h = 0; h < wanted.size(); ++h) {
        for (std::size_t j = 0; j < wanted[h].size(); ++j) {
          ASSERT_NEAR(found[h][j], wanted[h][j], 1e-4F * wanted[h][j] + 1e-6F) << table->name;
        }
      }
    }
  }
}

TEST(KvZip, TheReplaySaysWhatTheScoreIs) {
  TestLayer layer({.rows = 60});
  for (std::size_t h = 0; h < 2; ++h) layer.column_sums(h)[17] = 0.5F;
  layer.seal();
  const HeadScores scores = scores_of({.policy = "kvzip"}, layer.observation());
  EXPECT_EQ(scores[1][17], 0.5F);
  EXPECT_EQ(scores[0][16], 0.0F);
}

}  // namespace
}  // namespace restkv
