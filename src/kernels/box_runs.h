#pragma once

// Boxes around the keys of blocks, as sparse decode scores them in every step. kRunBlocks blocks
// make a run, in which each column (the lows or the highs of one channel) holds the values of its
// blocks side by side: a vector is as many blocks, and a block's sums need no other lane.

#include <cstddef>
#include <cstdint>

namespace restkv {

enum class SummaryType : std::uint8_t { kF16, kInt8, kInt4 };
enum class HeadMerge : std::uint8_t { kMax, kMean };  // over the query heads of a KV head

inline constexpr std::size_t kRunBlocks = 64;

// What comes before the columns of a run. Small types are asymmetric per column: an f16 zero for
// each of the 2 * head_dim columns, lows first, then as many f16 scales; a value is
// zero + scale * code.
[[nodiscard]] constexpr std::size_t run_head_bytes(SummaryType type, std::size_t head_dim) {
  return type == SummaryType::kF16 ? 0 : 8 * head_dim;
}
// The columns: f16 [2 * head_dim][kRunBlocks]; bytes [2 * head_dim][kRunBlocks]; or, in 4 bits,
// bytes [head_dim][kRunBlocks] with the code of the low in the lower half.
[[nodiscard]] constexpr std::size_t run_columns_bytes(SummaryType type, std::size_t head_dim) {
  const std::size_t columns = type == SummaryType::kInt4 ? head_dim : 2 * head_dim;
  return columns * kRunBlocks * (type == SummaryType::kF16 ? 2 : 1);
}
[[nodiscard]] constexpr std::size_t run_bytes(SummaryType type, std::size_t head_dim) {
  return run_head_bytes(type, head_dim) + run_columns_bytes(type, head_dim);
}

// What the blocks of a KV head promise its query heads: sum over channels d of q_d high_d where
// q_d > 0, else q_d low_d, merged over the group. A block's score depends neither on the blocks
// beside it nor on how many there are.
struct BoxScoreArgs {
  const float* q = nullptr;  // [group, head_dim]
  std::size_t group = 1;
  std::size_t head_dim = 0;
  HeadMerge merge = HeadMerge::kMax;
  SummaryType type = SummaryType::kF16;
  const std::byte* runs = nullptr;  // one behind the other, run_bytes() each
  std::size_t blocks = 0;           // the last run may have fewer than kRunBlocks; it is read whole
  float* scores = nullptr;          // [blocks]
  float* scratch = nullptr;         // box_score_scratch() floats
};

[[nodiscard]] constexpr std::size_t box_score_scratch(std::size_t group, std::size_t head_dim) {
  return 4 * head_dim * (group + 1) + group;
}

}  // namespace restkv
