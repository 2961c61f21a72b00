// The store of boxes against plain loops in f64, under every kernel table and element type.

#include "sparse/block_summaries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace restkv {
namespace {

constexpr std::size_t kDim = 32;

// Pages of one head, as a cache gives them.
struct Head {
  std::vector<std::byte> bytes;
  std::vector<PageView> pages;
  std::vector<float> keys;  // [rows, kDim] as stored
  std::size_t rows = 0;

  Head(KvType type, std::size_t n, std::uint32_t seed) : rows(n) {
    const KernelTable& kernels = **all_tables().begin();
    const std::size_t row_bytes = kv_row_bytes(type, kDim);
    bytes.resize(blocks_for_rows(n, kPageRows) * kPageRows * row_bytes);
    keys.resize(n * kDim);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<float> row(kDim);
      // A channel with large values, as rotated keys have.
      for (std::size_t d = 0; d < kDim; ++d) row[d] = normal(random) * (d == 3 ? 20.0F : 1.0F);
      kernels.encode_row(type, row.data(), bytes.data() + i * row_bytes, kDim);
      kernels.decode_row(type, bytes.data() + i * row_bytes, keys.data() + i * kDim, kDim);
    }
    for (std::size_t i = 0; i < n; i += kPageRows) {
      pages.push_back({.keys = bytes.data() + i * row_bytes,
                       .values = nullptr,
                       .rows = static_cast<std::uint32_t>(std::min(kPageRows, n - i))});
    }
  }
};

// [low, high] of a block, by the definitions.
std::vector<double> plain_box(BoxKind kind, const Head& head, std::size_t first, std::size_t n) {
  std::vector<double> box(2 * kDim);
  for (std::size_t d = 0; d < kDim; ++d) {
    double low = 1e30;
    double high = -1e30;
    for (std::size_t i = 0; i < n; ++i) {
      low = std::min(low, double(head.keys[(first + i) * kDim + d]));
      high = std::max(high, double(head.keys[(first + i) * kDim + d]));
    }
    if (kind == BoxKind::kCentred) {
      const double centre = (low + high) / 2;
      double mean = 0;
      for (std::size_t i = 0; i < n; ++i) {
        mean += std::abs(double(head.keys[(first + i) * kDim + d]) - centre);
      }
      low = centre - mean / static_cast<double>(n);
      high = centre + mean / static_cast<double>(n);
    }
    box[d] = low;
    box[kDim + d] = high;
  }
  return box;
}

void bring_up_to(BlockSummaries& summaries, const KernelTable& kernels, KvType type,
                 const Head& head, std::size_t count) {
  std::vector<float> scratch(summaries.update_scratch());
  const std::size_t old_pages = summaries.blocks() * summaries.shape().block_rows / kPageRows;
  summaries.reserve(count);
  summaries.update(kernels, type, std::span(head.pages).subspan(old_pages), count, scratch.data());
}

std::vector<float> scores_of(const BlockSummaries& summaries, const KernelTable& kernels,
                             std::span<const float> q, HeadMerge merge) {
  const std::size_t group = q.size() / kDim;
  std::vector<float> scores(summaries.blocks());
  std::vector<float> scratch(summaries.score_scratch(group));
  summaries.score(kernels, q.data(), group, merge, scores, scratch.data());
  return scores;
}

std::vector<float> random_queries(std::size_t group, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> q(group * kDim);
  for (float& x : q) x = normal(random);
  return q;
}

TEST(BlockSummaries, FollowTheFormulas) {
  for (const KernelTable* kernels : all_tables()) {
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      for (const BoxKind kind : {BoxKind::kMinMax, BoxKind::kCentred}) {
        for (const std::size_t block_rows : kBlockSizes) {
          const std::size_t n_block = block_rows == 16 ? 150 : 5;
          const Head head(type, n_block * block_rows + 7, 3);
          BlockSummaries summaries(
              {.box = kind, .type = SummaryType::kF16, .block_rows = block_rows, .head_dim = kDim});
          bring_up_to(summaries, *kernels, type, head, n_block);
          const auto q = random_queries(3, 5);
          const auto best = scores_of(summaries, *kernels, q, HeadMerge::kMax);
          const auto mean = scores_of(summaries, *kernels, q, HeadMerge::kMean);
          for (std::size_t b = 0; b < n_block; ++b) {
            const auto box = plain_box(kind, head, b * block_rows, block_rows);
            std::vector<float> stored(2 * kDim);
            summaries.box(*kernels, b, stored);
            for (std::size_t d = 0; d < 2 * kDim; ++d) {
              ASSERT_NEAR(stored[d], box[d], 2e-6 + std::abs(box[d]) / 2000) << b << " " << d;
            }
            double largest = -1e30;
            double sum = 0;
            for (std::size_t g = 0; g < 3; ++g) {
              double one = 0;
              for (std::size_t d = 0; d < kDim; ++d) {
                const double x = q[g * kDim + d];
                one += std::max(x * double(stored[d]), x * double(stored[kDim + d]));
              }
              largest = std::max(largest, one);
              sum += one / 3;
            }
            ASSERT_NEAR(best[b], largest, 1e-3) << kernels->name << " block " << b;
            ASSERT_NEAR(mean[b], sum, 1e-3) << kernels->name << " block " << b;
          }
        }
      }
    }
  }
}

// The smallest and largest keys of an f16 cache are f16 numbers: Quest's boxes are exact, and no
// key of a block has a larger product with the query than the block promises.
TEST(BlockSummaries, QuestBoundsEveryKeyOfAnF16Cache) {
  const KernelTable& kernels = best_table();
  const Head head(KvType::kF16, 1300, 4);
  BlockSummaries summaries({.block_rows = 16, .head_dim = kDim});
  bring_up_to(summaries, kernels, KvType::kF16, head, 81);
  const auto q = random_queries(1, 6);
  const auto scores = scores_of(summaries, kernels, q, HeadMerge::kMax);
  for (std::size_t i = 0; i < 81 * 16; ++i) {
    double product = 0;
    for (std::size_t d = 0; d < kDim; ++d)
      product += double(q[d]) * double(head.keys[i * kDim + d]);
    ASSERT_LE(product, double(scores[i / 16]) + 1e-3);
  }
}

// A value is off by at most half a step of its column, and a little for the f16 scale.
TEST(BlockSummaries, SmallTypesRoundToTheNearestStepOfTheirColumn) {
  for (const KernelTable* kernels : all_tables()) {
    const Head head(KvType::kF16, 128 * 16, 7);
    BlockSummaries exact({.type = SummaryType::kF16, .block_rows = 16, .head_dim = kDim});
    bring_up_to(exact, *kernels, KvType::kF16, head, 127);
    for (const auto& [type, steps] :
         {std::pair(SummaryType::kInt8, 255.0), std::pair(SummaryType::kInt4, 15.0)}) {
      BlockSummaries small({.type = type, .block_rows = 16, .head_dim = kDim});
      bring_up_to(small, *kernels, KvType::kF16, head, 127);
      std::vector<std::vector<float>> boxes(127, std::vector<float>(2 * kDim));
      for (std::size_t b = 0; b < 127; ++b) exact.box(*kernels, b, boxes[b]);
      std::vector<float> low = boxes[0];
      std::vector<float> high = boxes[0];
      for (std::size_t b = 0; b < kRunBlocks; ++b) {
        for (std::size_t d = 0; d < 2 * kDim; ++d) {
          low[d] = std::min(low[d], boxes[b][d]);
          high[d] = std::max(high[d], boxes[b][d]);
        }
      }
      bool differs = false;
      std::vector<float> box(2 * kDim);
      for (std::size_t b = 0; b < 127; ++b) {
        small.box(*kernels, b, box);
        if (b >= kRunBlocks) {  // of a run that is not full
          ASSERT_EQ(box, boxes[b]);
          continue;
        }
        for (std::size_t d = 0; d < 2 * kDim; ++d) {
          const double range = double(high[d]) - double(low[d]);
          ASSERT_NEAR(box[d], boxes[b][d], range * (0.5 / steps + 1e-3)) << b << " " << d;
          differs |= box[d] != boxes[b][d];
        }
      }
      EXPECT_TRUE(differs);
      // Scores are those of the boxes as they are stored.
      const auto q = random_queries(2, 8);
      const auto scores = scores_of(small, *kernels, q, HeadMerge::kMax);
      for (std::size_t b = 0; b < 127; ++b) {
        small.box(*kernels, b, box);
        double largest = -1e30;
        for (std::size_t g = 0; g < 2; ++g) {
          double one = 0;
          for (std::size_t d = 0; d < kDim; ++d) {
            const double x = q[g * kDim + d];
            one += x * double(box[x > 0 ? kDim + d : d]);
          }
          largest = std::max(largest, one);
        }
        ASSERT_NEAR(scores[b], largest, 1e-3 * (1 + std::abs(largest))) << b;
      }
    }
  }
}

// Fed block by block, in pieces, or at once; and a copy that goes on beside the first.
TEST(BlockSummaries, AreAFunctionOfTheRowsAlone) {
  const KernelTable& kernels = best_table();
  for (const SummaryType type : {SummaryType::kF16, SummaryType::kInt8, SummaryType::kInt4}) {
    const Head head(KvType::kQ8_0, 200 * 16, 9);
    const BlockSummaries::Shape shape{
        .box = BoxKind::kCentred, .type = type, .block_rows = 16, .head_dim = kDim};
    BlockSummaries once(shape);
    bring_up_to(once, kernels, KvType::kQ8_0, head, 199);
    BlockSummaries steps(shape);
    BlockSummaries copy(shape);
    for (std::size_t count = 0; count <= 199; count += count % 3 + 1) {
      bring_up_to(steps, kernels, KvType::kQ8_0, head, count);
      if (count < 70) copy = steps;
    }
    bring_up_to(steps, kernels, KvType::kQ8_0, head, 199);
    bring_up_to(copy, kernels, KvType::kQ8_0, head, 199);
    const auto q = random_queries(2, 10);
    const auto expected = scores_of(once, kernels, q, HeadMerge::kMax);
    EXPECT_EQ(scores_of(steps, kernels, q, HeadMerge::kMax), expected);
    EXPECT_EQ(scores_of(copy, kernels, q, HeadMerge::kMax), expected);
  }
}

TEST(BlockSummaries, TakeTheBytesThatTheirTypeSays) {
  const Head head(KvType::kF16, 641 * 16, 11);
  std::vector<double> bytes;
  for (const SummaryType type : {SummaryType::kF16, SummaryType::kInt8, SummaryType::kInt4}) {
    BlockSummaries summaries({.type = type, .block_rows = 16, .head_dim = kDim});
    bring_up_to(summaries, best_table(), KvType::kF16, head, 640);
    const BlockSummaries copy = summaries;  // without room to grow
    bytes.push_back(static_cast<double>(copy.bytes()) - 64 * 2 * 2 * kDim);
  }
  EXPECT_EQ(bytes[0], 640 * 2 * 2 * kDim);
  EXPECT_EQ(bytes[1], 640 * 2 * kDim + 10 * 2 * 2 * 2 * kDim);
  EXPECT_EQ(bytes[2], 640 * kDim + 10 * 2 * 2 * 2 * kDim);
}

}  // namespace
}  // namespace restkv
