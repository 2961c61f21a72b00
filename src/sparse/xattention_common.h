#pragma once

// The estimate of XAttention as plain functions.

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "restkv/policy.h"
#include "restkv/views.h"

namespace restkv {

struct XAttentionSize {
  std::size_t stride = 16;  // S: rows that are folded into one
  std::size_t block = 128;  // b, a multiple of S
};

// Queries of one head and the keys that they see.
struct XAttentionInput {
  const float* q = nullptr;  // query of token first + i: q + i * token_stride
  std::size_t token_stride = 0;
  std::size_t first = 0;  // a multiple of the block
  std::size_t count = 0;
  std::size_t head_dim = 0;
  TypedRows keys;  // kF32 or kF16; rows 0 .. first + count - 1
  AttentionRule rule;
};

// Floats of scratch that xattention_sums needs.
std::size_t xattention_scratch(const XAttentionInput& input, const XAttentionSize& size);

// sums[q][k] = estimated attention of query block first / b + q to key block k, summed over the
// block's folded queries; [ceil(count / b), ceil((first + count) / b)].
//   logit(i, j) = sum over s < S of q[iS + S - 1 - s] . k[jS + s] / (sqrt(d) S), j <= i,
// softmax over j, summed in squares of b / S. Rows beyond the last count as zeros in a fold that
// has some, and folds that have none give nothing.
void xattention_sums(const XAttentionInput& input, const XAttentionSize& size,
                     const KernelTable& kernels, std::span<float> scratch, View2<float> sums);

// Marks in `chosen` [diagonal + 1] the blocks that a query block reads: block 0 and the diagonal,
// then the largest, until their sums reach threshold * the sum of all (every block when the
// threshold is 1). Ties go to the lower block. order: [diagonal + 1], scratch.
void choose_xattention_blocks(std::span<const float> sums, double threshold,
                              std::span<std::uint32_t> order, std::span<std::uint8_t> chosen);

}  // namespace restkv
