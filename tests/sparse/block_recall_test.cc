// The share of attention that chosen blocks catch, against plain loops in f64.

#include "sparse/block_recall.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"

namespace restkv {
namespace {

constexpr std::size_t kDim = 16;
constexpr std::size_t kRows = 1000;
constexpr std::size_t kQueries = 9;
constexpr std::size_t kGroup = 3;

// One KV head in f32.
struct Layer {
  std::vector<float> keys, queries;  // [kRows, kDim], [kGroup, kQueries, kDim]
  std::vector<Position> positions, window;
  std::vector<HeadRows> heads;
  LayerObservation observation;

  explicit Layer(std::uint32_t seed) : keys(kRows * kDim), queries(kGroup * kQueries * kDim) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& x : keys) x = normal(random);
    for (float& x : queries) x = normal(random);
    positions.resize(kRows);
    std::iota(positions.begin(), positions.end(), 0);
    window.assign(positions.end() - kQueries, positions.end());
    heads.push_back({.keys = reinterpret_cast<const std::byte*>(keys.data()),
                     .values = reinterpret_cast<const std::byte*>(keys.data()),
                     .type = KvType::kF32,
                     .positions = positions});
    observation.n_layer = 1;
    observation.n_head = static_cast<int>(kGroup);
    observation.n_kv_head = 1;
    observation.head_dim = static_cast<int>(kDim);
    observation.attention = {.scale = 0.5F};
    observation.heads = heads;
    observation.window_queries = {queries.data(), kGroup, kQueries, kDim};
    observation.window_positions = window;
  }
};

double dot(const float* a, const float* b) {
  double sum = 0;
  for (std::size_t d = 0; d < kDim; ++d) sum += double(a[d]) * double(b[d]);
  return sum;
}

// Quest's choice by its definition: max(3, budget / b) blocks, the last always among them.
double plain_recall(const Layer& layer, std::size_t b, std::size_t budget) {
  double sum = 0;
  for (std::size_t i = 0; i < kQueries; ++i) {
    const std::size_t seen = kRows - kQueries + i + 1;
    const std::size_t n_block = (seen + b - 1) / b;
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t block = 0; block + 1 < n_block; ++block) {
      double best = -1e30;
      for (std::size_t g = 0; g < kGroup; ++g) {
        double bound = 0;
        for (std::size_t d = 0; d < kDim; ++d) {
          double low = 1e30;
          double high = -1e30;
          for (std::size_t j = block * b; j < (block + 1) * b; ++j) {
            low = std::min(low, double(layer.keys[j * kDim + d]));
            high = std::max(high, double(layer.keys[j * kDim + d]));
          }
          const double x = layer.queries[(g * kQueries + i) * kDim + d];
          bound += std::max(x * low, x * high);
        }
        best = std::max(best, bound);
      }
      order.emplace_back(-best, block);
    }
    std::ranges::sort(order);
    const std::size_t count = std::max<std::size_t>(3, budget / b);
    std::vector<std::size_t> blocks = {n_block - 1};
    for (std::size_t k = 0; k + 1 < count && k < order.size(); ++k) {
      blocks.push_back(order[k].second);
    }
    for (std::size_t g = 0; g < kGroup; ++g) {
      const float* const q = layer.queries.data() + (g * kQueries + i) * kDim;
      double all = 0;
      double caught = 0;
      for (std::size_t j = 0; j < seen; ++j) {
        const double weight = std::exp(0.5 * dot(q, layer.keys.data() + j * kDim));
        all += weight;
        if (std::ranges::find(blocks, j / b) != blocks.end()) caught += weight;
      }
      sum += caught / all;
    }
  }
  return sum / (kQueries * kGroup);
}

TEST(BlockRecall, IsTheAttentionOfTheChosenBlocks) {
  const Threads threads(2);
  for (const KernelTable* kernels : all_tables()) {
    const Layer layer(1);
    const SelectionPlan plan{};  // Quest's
    std::vector<HeadRecall> sums(1);
    const RecallRequest request{.plan = &plan,
                                .budget = {.unit = Budget::Unit::kTokens, .amount = 400},
                                .kernels = kernels,
                                .threads = &threads};
    add_block_recall(layer.observation, request, sums);
    for (std::size_t size = 0; size < kBlockSizes.size(); ++size) {
      const double wanted = plain_recall(layer, kBlockSizes[size], 400);
      EXPECT_GT(wanted, 0.1);
      EXPECT_LT(wanted, 0.9);
      // f16 summaries may turn a close pair of blocks round.
      EXPECT_NEAR(sums[0][size], wanted, 5e-3) << kBlockSizes[size];
    }
    const HeadRecall once = sums[0];
    add_block_recall(layer.observation, request, sums);
    EXPECT_DOUBLE_EQ(sums[0][0], 2 * once[0]);  // it adds
  }
}

// Three blocks are always read: below three of the largest, the sizes would read different amounts.
TEST(BlockRecall, ASmallBudgetIsRaisedToThreeLargeBlocks) {
  const Threads threads(1);
  const Layer layer(3);
  const SelectionPlan plan{};
  std::vector<std::vector<HeadRecall>> sums;
  for (const double rows : {40.0, 384.0, 512.0}) {
    sums.emplace_back(1);
    add_block_recall(layer.observation,
                     {.plan = &plan,
                      .budget = {.unit = Budget::Unit::kTokens, .amount = rows},
                      .kernels = &best_table(),
                      .threads = &threads},
                     sums.back());
  }
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_GT(sums[2][0][0], sums[1][0][0]);
}

// As decode does it: what was read is told, so that sizes can be compared all the same.
TEST(BlockRecall, TellsTheShareThatWasRead) {
  const Threads threads(1);
  const Layer layer(4);
  const SelectionPlan plan{};
  std::vector<HeadRecall> sums(1);
  std::vector<HeadRecall> read(1);
  add_block_recall(layer.observation,
                   {.plan = &plan,
                    .budget = {.unit = Budget::Unit::kTokens, .amount = 100},
                    .least_rows = 0,
                    .kernels = &best_table(),
                    .threads = &threads,
                    .read = read},
                   sums);
  for (std::size_t size = 0; size < kBlockSizes.size(); ++size) {
    const std::size_t b = kBlockSizes[size];
    double wanted = 0;
    for (std::size_t seen = kRows - kQueries + 1; seen <= kRows; ++seen) {
      const std::size_t newest = (seen - 1) % b + 1;  // rows of the unfinished block
      const std::size_t full = std::max<std::size_t>(3, 100 / b) - 1;
      wanted += static_cast<double>(full * b + newest) / static_cast<double>(seen) / kQueries;
    }
    EXPECT_NEAR(read[0][size], wanted, 1e-12) << b;
  }
}

TEST(BlockRecall, SaysHowManyRowsAQueryIsGiven) {
  const Budget few{.unit = Budget::Unit::kPercent, .amount = 4};
  EXPECT_EQ(recall_rows(few, 2048), 384U);  // three blocks of 128, not 81 rows
  EXPECT_EQ(recall_rows(few, 2048, 0), 81U);
  EXPECT_EQ(recall_rows(few, 300), 300U);
  EXPECT_EQ(recall_rows({.unit = Budget::Unit::kPercent, .amount = 50}, 2048), 1024U);
}

TEST(BlockRecall, ABudgetOfEverythingCatchesEverything) {
  const Threads threads(1);
  const Layer layer(2);
  const SelectionPlan plan{};
  for (const Budget budget : {Budget{.unit = Budget::Unit::kTokens, .amount = 1000},
                              Budget{.unit = Budget::Unit::kPercent, .amount = 100}}) {
    std::vector<HeadRecall> sums(1);
    add_block_recall(
        layer.observation,
        {.plan = &plan, .budget = budget, .kernels = &best_table(), .threads = &threads}, sums);
    for (const double share : sums[0]) EXPECT_DOUBLE_EQ(share, 1);
  }
}

}  // namespace
}  // namespace restkv
