// The greedy search against hand-worked cases and its promises over random heads.

#include "sparse/block_allocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace restkv {
namespace {

using Sizes = std::vector<int>;

TEST(BlockAllocation, ASensitiveHeadGetsSmallBlocksAndTheOthersPayForThem) {
  // In summaries for each 128 rows: 4 heads of 32 take 16 = 8 + 4 + 2 + 2, say.
  const HeadRecall flat = {0.90, 0.90, 0.90, 0.90};
  const HeadRecall steep = {0.90, 0.60, 0.40, 0.20};
  EXPECT_EQ(allocate_blocks(std::vector{flat, steep, flat, flat}, BlockMean::kHarmonic, 32),
            (Sizes{128, 16, 128, 128}));
  // Two of them: 8 each would be 16 + 2, which is above 16: one has to take less.
  const HeadRecall steeper = {0.95, 0.60, 0.40, 0.20};
  EXPECT_EQ(allocate_blocks(std::vector{flat, steep, flat, steeper}, BlockMean::kHarmonic, 32),
            (Sizes{128, 32, 128, 16}));
}

TEST(BlockAllocation, AGainThatComesLateIsSeen) {
  // 64 and 32 are no better than 128, 16 is.
  const HeadRecall late = {0.9, 0.5, 0.5, 0.5};
  EXPECT_EQ(allocate_blocks(std::vector{late, HeadRecall{0.5, 0.5, 0.5, 0.5}},
                            BlockMean::kArithmetic, 64),
            (Sizes{16, 128}));
}

TEST(BlockAllocation, NothingIsSpentWhereNothingIsGained) {
  const HeadRecall worse = {0.1, 0.2, 0.3, 0.4};
  EXPECT_EQ(allocate_blocks(std::vector{worse, worse}, BlockMean::kHarmonic, 32),
            (Sizes{128, 128}));
  EXPECT_EQ(allocate_blocks({}, BlockMean::kHarmonic, 32), Sizes());
}

TEST(BlockAllocation, EqualHeadsGetTheLowerFirst) {
  const HeadRecall same = {0.4, 0.3, 0.2, 0.1};
  const Sizes sizes = allocate_blocks(std::vector{same, same}, BlockMean::kArithmetic, 72);
  EXPECT_EQ(sizes, (Sizes{16, 128}));
}

TEST(BlockAllocation, TheMeanIsNeverBelowAndNoStepIsLeftThatFits) {
  std::uint64_t random = 3;
  const auto share = [&] { return static_cast<double>(next_random(random) % 1000) / 1000.0; };
  for (int round = 0; round < 500; ++round) {
    std::vector<HeadRecall> recall(1 + next_random(random) % 20);
    for (HeadRecall& head : recall) {
      for (double& one : head) one = share();
      std::ranges::sort(head, std::greater<>());  // small blocks catch more
    }
    for (const std::size_t mean : {std::size_t{16}, std::size_t{32}, std::size_t{100}}) {
      const Sizes harmonic = allocate_blocks(recall, BlockMean::kHarmonic, mean);
      double inverse = 0;
      for (const int rows : harmonic) inverse += 1.0 / rows;
      const auto heads = static_cast<double>(recall.size());
      ASSERT_LE(inverse, heads / static_cast<double>(mean) + 1e-12);
      const Sizes arithmetic = allocate_blocks(recall, BlockMean::kArithmetic, mean);
      const int sum = std::accumulate(arithmetic.begin(), arithmetic.end(), 0);
      ASSERT_GE(sum, static_cast<int>(mean * recall.size()));
      for (std::size_t h = 0; h < recall.size(); ++h) {
        if (arithmetic[h] == 16) continue;
        // Halving it would go below the mean, or gains nothing.
        const auto at =
            std::ranges::find(kBlockSizes, std::size_t(arithmetic[h])) - kBlockSizes.begin();
        const bool gains = recall[h][std::size_t(at) - 1] > recall[h][std::size_t(at)];
        ASSERT_TRUE(!gains || sum - arithmetic[h] / 2 < static_cast<int>(mean * recall.size()));
      }
    }
  }
}

}  // namespace
}  // namespace restkv
