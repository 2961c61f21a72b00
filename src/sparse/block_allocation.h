#pragma once

// A block size for each KV head, from what each size catches of the head's attention (AB-Sparse,
// arXiv 2605.12110). The publication says a greedy search under a mean size of 32; which mean, and
// what a step is, are ours.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sparse/selection_plan.h"

namespace restkv {

// Share of a head's attention that is caught with each of kBlockSizes, 0 to 1.
using HeadRecall = std::array<double, kBlockSizes.size()>;

enum class BlockMean : std::uint8_t {
  kHarmonic,    // as many summaries as with one size for all: equal memory
  kArithmetic,  // of the sizes themselves
};

// Sizes whose mean is not below mean_rows. All heads begin with the largest; again and again the
// head and the smaller size with the largest gain of recall for each summary more (kArithmetic: for
// each row less) are taken, while the mean allows it and something is gained. Ties: the lower head,
// then the larger size. REQUIRES: 16 <= mean_rows <= 128.
std::vector<int> allocate_blocks(std::span<const HeadRecall> recall, BlockMean mean,
                                 std::size_t mean_rows);

}  // namespace restkv
