#pragma once

// The boxes of one KV head's blocks, as decode reads them in every step: 2 * head_dim values
// [low, high] for each finished block, in f16, or in 8 or 4 bits, in the runs of box_runs.h.
//
// Small types are asymmetric per channel: over a run each of the 2 * head_dim columns has a scale
// and a zero (the publication of AB-Sparse says 4 bits, asymmetric, per channel; the run is ours).
// Blocks of the run that is not full yet are f16. So what is stored is a function of the rows
// alone, whenever it was brought up to date, and a copy that goes on its own way is as if it had
// been alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "kernels/kernels.h"
#include "restkv/types.h"
#include "sparse/selection_plan.h"

namespace restkv {

class BlockSummaries {
 public:
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
  // Summarises blocks blocks() .. count - 1. pages: those of these blocks, or more behind them, as
  // KvCache::pages() gives them without rows to skip; scratch: update_scratch() floats.
  // REQUIRES: reserve(count); those blocks are full and older ones have not changed.
  void update(const KernelTable& kernels, KvType type_k, std::span<const PageView> pages,
              std::size_t count, float* scratch);
  [[nodiscard]] std::size_t update_scratch() const;

  // What each block promises (BoxScoreArgs), which is the larger of both products of each channel
  // unless rounding has put a low above its high; merged over the `group` query heads of q
  // [group, head_dim]. scores: [blocks()]; scratch: score_scratch(group) floats.
  void score(const KernelTable& kernels, const float* q, std::size_t group, HeadMerge merge,
             std::span<float> scores, float* scratch) const;
  [[nodiscard]] std::size_t score_scratch(std::size_t group) const;

  // The box of a block as it is stored: [2 * head_dim], low first.
  void box(const KernelTable& kernels, std::size_t block, std::span<float> out) const;

 private:
  [[nodiscard]] std::size_t width() const { return 2 * shape_.head_dim; }
  [[nodiscard]] std::size_t closed_bytes() const { return run_bytes(shape_.type, shape_.head_dim); }
  [[nodiscard]] std::size_t open_bytes() const {
    return run_bytes(SummaryType::kF16, shape_.head_dim);
  }
  void close_run(const KernelTable& kernels, float* scratch);

  Shape shape_;
  std::size_t blocks_ = 0;
  AlignedVector<std::byte> closed_;  // [runs][closed_bytes()]
  AlignedVector<std::byte> open_;    // one run of f16; columns of blocks to come are 0 or stale
};

}  // namespace restkv
