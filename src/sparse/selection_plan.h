#pragma once

// What a method of sparse decode comes to: which boxes describe a block of rows, and which blocks a
// head reads. The methods differ in these numbers only.
//
// A block of b rows begins at a multiple of b in row numbers of one KV head. Rows are sorted by
// position; after an eviction they are not contiguous in position, and a box does not care.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cache/kv_cache.h"
#include "kernels/box_runs.h"
#include "restkv/budget.h"
#include "restkv/params.h"

namespace restkv {

// Rows of a block: whole pages of the cache, so that attention reads pages as they lie.
inline constexpr std::array<std::size_t, 4> kBlockSizes = {16, 32, 64, 128};
static_assert(kBlockSizes.front() == kPageRows);

enum class BoxKind : std::uint8_t {
  kMinMax,   // Quest (arXiv 2406.10774): the smallest and the largest value of each channel
  kCentred,  // ArkVale (NeurIPS 2024): the middle of those, -/+ the mean distance from it
};
enum class BlockRounding : std::uint8_t { kDown, kNearest };  // of budget / block size

struct SelectionPlan {
  BoxKind box = BoxKind::kMinMax;
  HeadMerge merge = HeadMerge::kMax;
  SummaryType summaries = SummaryType::kF16;
  std::size_t block_rows = kPageRows;  // one of kBlockSizes
  int dense_layers = 0;                // the first layers, which read everything
  std::size_t first_blocks = 0;        // always read
  std::size_t last_blocks = 1;         // always read, the unfinished one among them; at least 1
  std::size_t paid_blocks = 1;         // blocks always read that the budget pays for
  BlockRounding rounding = BlockRounding::kDown;
};

// Blocks that `rows` rows make, the last perhaps unfinished.
[[nodiscard]] constexpr std::size_t blocks_for_rows(std::size_t rows, std::size_t block_rows) {
  return (rows + block_rows - 1) / block_rows;
}
// Blocks that need a summary: all but the one with the newest row, which is always read.
[[nodiscard]] constexpr std::size_t summarised_blocks(std::size_t rows, std::size_t block_rows) {
  return rows == 0 ? 0 : (rows - 1) / block_rows;
}

// Rows that a budget allows a head with `rows` rows, percent rounded down.
[[nodiscard]] std::size_t decode_budget_rows(const Budget& budget, std::size_t rows);

// Blocks that are picked by score, beside those that are always read: budget / block size, at least
// 3, less those that the budget has paid for.
[[nodiscard]] std::size_t picked_blocks(const SelectionPlan& plan, std::size_t block_rows,
                                        std::size_t budget_rows);

// The blocks to read of scores.size() + 1, ascending; equal scores: the lower block. keys: scratch,
// as many as scores. Allocates nothing when `blocks` has room for all blocks.
void select_blocks(const SelectionPlan& plan, std::span<const float> scores, std::size_t picked,
                   std::span<std::int32_t> keys, std::vector<std::uint32_t>& blocks);

// What all methods declare: block=, summaries= and dense-layers=, with the method's own defaults.
[[nodiscard]] constexpr ParamInfo block_param(std::string_view default_value) {
  return {.name = "block",
          .summary = "rows that are read or left together",
          .kind = ParamKind::kChoice,
          .default_value = default_value,
          .choices = "16|32|64|128"};
}
[[nodiscard]] constexpr ParamInfo summaries_param(std::string_view default_value) {
  return {.name = "summaries",
          .summary = "element type of the blocks' boxes",
          .kind = ParamKind::kChoice,
          .default_value = default_value,
          .choices = "f16|int8|int4"};
}
inline constexpr ParamInfo kDenseLayersParam = {.name = "dense-layers",
                                                .summary = "first layers that read everything",
                                                .kind = ParamKind::kInteger,
                                                .default_value = "2",
                                                .min = 0,
                                                .max = 1024,
                                                .choices = {}};
// Reads those three into a plan. REQUIRES: the values have them.
void read_common_params(const ParamValues& values, SelectionPlan& plan);

}  // namespace restkv
