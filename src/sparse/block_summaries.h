#pragma once

// The boxes of one KV head's blocks, as decode reads them in every step: a row [low, high] of
// 2 * head_dim values for each finished block, in f16, or in 8 or 4 bits.
//
// Small types are asymmetric per channel: over a run of kRunBlocks blocks each of the 2 * head_dim
// columns has an f16 scale and an f16 zero, and a value is zero + scale * code (the publication of
// AB-Sparse says 4 bits, asymmetric, per channel; the run is ours). Blocks of the run that is not
// full yet are f16. So what is stored is a function of the rows alone, whenever it was brought up
// to date, and a copy that goes on its own way is as if it had been alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "restkv/types.h"
#include "sparse/selection_plan.h"

namespace restkv {

class BlockSummaries {
 public:
  static constexpr std::size_t kRunBlocks = 64;

  struct Shape {
    BoxKind box = BoxKind::kMinMax;
    SummaryType type = SummaryType::kF16;
    std::size_t block_rows = kPageRows;
    std::size_t head_dim = 0;
  };
  explicit BlockSummaries(const Shape& shape);

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t blocks() const { return blocks_; }
  // Bytes allocated for what is stored.
  [[nodiscard]] std::size_t bytes() const { return closed_.capacity() + open_.capacity(); }

  // Makes room for so many blocks, so that update() does not allocate. Throws std::bad_alloc.
  void reserve(std::size_t blocks);
  // Summarises blocks blocks() .. count - 1. pages: all pages of the head, as KvCache::pages()
  // gives them without rows to skip; scratch: update_scratch() floats.
  // REQUIRES: reserve(count); those blocks are full and older ones have not changed.
  void update(const KernelTable& kernels, KvType type_k, std::span<const PageView> pages,
              std::size_t count, float* scratch);
  [[nodiscard]] std::size_t update_scratch() const;

  // What each block promises: sum over d of q_d high_d where q_d > 0, else q_d low_d, which is the
  // larger unless rounding has put a low above its high; merged over the `group` query heads of q
  // [group, head_dim]. scores: [blocks()]; scratch: score_scratch(group) floats.
  void score(const KernelTable& kernels, const float* q, std::size_t group, HeadMerge merge,
             std::span<float> scores, float* scratch) const;
  [[nodiscard]] std::size_t score_scratch(std::size_t group) const;

  // The box of a block as it is stored: [2 * head_dim], low first.
  void box(const KernelTable& kernels, std::size_t block, std::span<float> out) const;

 private:
  [[nodiscard]] std::size_t width() const { return 2 * shape_.head_dim; }
  [[nodiscard]] std::size_t open_row_bytes() const { return 2 * width(); }
  // A closed run: zeros and scales (small types), then the rows.
  [[nodiscard]] std::size_t row_bytes() const;
  [[nodiscard]] std::size_t head_bytes() const;
  [[nodiscard]] std::size_t run_bytes() const { return head_bytes() + kRunBlocks * row_bytes(); }
  void close_run(const KernelTable& kernels, float* scratch);
  void expand(const std::byte* row, float* codes) const;

  Shape shape_;
  std::size_t blocks_ = 0;
  std::vector<std::byte> closed_;  // [runs][run_bytes()]
  std::vector<std::byte> open_;    // [kRunBlocks][open_row_bytes()]
};

}  // namespace restkv
