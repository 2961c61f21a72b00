// The rows of decode attention where the cache holds them, and bringing them near in time. Compiled
// once per target.

#if defined(RESTKV_KERNELS_HWY_DECODE_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_ROWS_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_ROWS_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/hwy/types-inl.h"
#include "kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kDecodeTile = 32;  // rows
constexpr std::size_t kCacheLine = 64;

// What stands for the keys of a missing row.
HWY_ALIGN constexpr std::byte kNoRow[2 * kMaxHeadDim] = {};

// The rows of a tile where the cache holds them.
struct TileRows {
  const std::byte* keys[kDecodeTile];  // behind the last row: of zeros
  const std::byte* values[kDecodeTile];
  const std::uint8_t* masks[kDecodeTile];  // set where the segment has any
  std::size_t count = 0;
  // The same memory, in pieces without gaps: page after page, keys before values.
  struct Run {
    const std::byte* begin;
    std::size_t bytes;
  };
  Run runs[2 * kDecodeTile];
  std::size_t n_run = 0;
};

// Walks over the rows of a segment.
class RowWalk {
 public:
  explicit RowWalk(const DecodeAttentionArgs& args)
      : args_(args),
        key_bytes_(kv_row_bytes(args.type_k, args.head_dim)),
        value_bytes_(kv_row_bytes(args.type_v, args.head_dim)),
        mask_bytes_(row_mask_bytes(args.group)),
        row_(args.skip_rows) {}

  void next(TileRows& rows) {
    rows.count = 0;
    rows.n_run = 0;
    for (; page_ < args_.pages.size(); row_ = 0, ++page_) {
      const PageView& page = args_.pages[page_];
      const std::size_t left = page.rows > row_ ? page.rows - row_ : 0;
      const std::size_t taken = std::min(left, kDecodeTile - rows.count);
      const std::byte* const keys = page.keys + row_ * key_bytes_;
      const std::byte* const values = page.values + row_ * value_bytes_;
      const std::byte* key = keys;
      const std::byte* value = values;
      for (std::size_t i = rows.count; i < rows.count + taken; ++i) {
        rows.keys[i] = key;
        rows.values[i] = value;
        key += key_bytes_;
        value += value_bytes_;
      }
      for (std::size_t i = 0; page.masks != nullptr && i < taken; ++i) {
        rows.masks[rows.count + i] = page.masks + (row_ + i) * mask_bytes_;
      }
      if (taken > 0) {
        rows.runs[rows.n_run++] = {keys, taken * key_bytes_};
        rows.runs[rows.n_run++] = {values, taken * value_bytes_};
      }
      rows.count += taken;
      row_ += taken;
      if (taken < left || rows.count == kDecodeTile) return;
    }
    std::fill(rows.keys + rows.count, rows.keys + kDecodeTile, kNoRow);
  }

 private:
  const DecodeAttentionArgs& args_;
  std::size_t key_bytes_;
  std::size_t value_bytes_;
  std::size_t mask_bytes_;
  std::size_t page_ = 0;
  std::size_t row_ = 0;
};

// Brings the rows of a later tile near, a few lines at a time, all through the work on this one:
// without it, decode waits for each page; asked for in bursts, the lines wait for one another. Rows
// of the next tile but one: memory may take longer than the work on one tile. Into the second
// level: to the first, memory brought half as much on some processors (docs/kernels.md).
class Prefetch {
 public:
  void start(const TileRows& rows) {
    rows_ = &rows;
    run_ = 0;
    lines_ = 0;
  }

  template <std::size_t kLines>
  HWY_INLINE void step() {
    if (HWY_UNLIKELY(lines_ < kLines)) {
      if (more()) cross_runs(kLines);
      return;
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kLines; ++i) fetch(next_ + i * kCacheLine);
    next_ += kLines * kCacheLine;
    lines_ -= kLines;
  }

  // What is left.
  void finish() {
    while (more()) cross_runs(lines_ + 1);
  }

 private:
  [[nodiscard]] HWY_INLINE bool more() const { return lines_ > 0 || run_ < rows_->n_run; }

  static void fetch(const std::byte* line) { __builtin_prefetch(line, 0, 2); }

  HWY_NOINLINE void cross_runs(std::size_t lines) {
    for (; lines > 0; --lines) {
      while (lines_ == 0) {
        if (run_ == rows_->n_run) return;
        const auto& [begin, bytes] = rows_->runs[run_++];
        const std::size_t before = reinterpret_cast<std::uintptr_t>(begin) % kCacheLine;
        next_ = begin - before;
        lines_ = (before + bytes + kCacheLine - 1) / kCacheLine;
      }
      fetch(next_);
      next_ += kCacheLine;
      --lines_;
    }
  }

  const TileRows* rows_ = nullptr;
  std::size_t run_ = 0;              // the next one
  const std::byte* next_ = nullptr;  // of the run before it
  std::size_t lines_ = 0;            // from next_ on
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
