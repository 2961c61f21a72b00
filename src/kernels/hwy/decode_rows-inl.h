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
constexpr int kFirstLevel = 2;

// The rows of a tile where the cache holds them.
struct TileRows {
  const std::byte* keys[kDecodeTile];
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
  }

 private:
  const DecodeAttentionArgs& args_;
  std::size_t key_bytes_;
  std::size_t value_bytes_;
  std::size_t mask_bytes_;
  std::size_t page_ = 0;
  std::size_t row_ = 0;
};

// Brings the rows of a later tile into the cache a few lines at a time, all through the work on
// this one: without it, decode waits for each page; asked for in bursts, the lines wait for one
// another. Rows of the next tile but one: memory may take longer than the work on one tile.
class Prefetch {
 public:
  void start(const TileRows& rows, std::size_t steps) {
    rows_ = &rows;
    run_ = 0;
    std::size_t lines = 0;
    for (std::size_t i = 0; i < rows.n_run; ++i) lines += rows.runs[i].bytes / kCacheLine + 1;
    lines_per_step_ = (lines + steps - 1) / steps;
    next_ = rows.n_run > 0 ? rows.runs[0].begin : nullptr;
    end_ = rows.n_run > 0 ? next_ + rows.runs[0].bytes : nullptr;
  }

  HWY_INLINE void step() {
    const std::byte* next = next_;
    const std::byte* end = end_;
    for (std::size_t left = lines_per_step_; left > 0; --left) {
      if (next >= end) {
        if (run_ + 1 >= rows_->n_run) break;
        ++run_;
        next = rows_->runs[run_].begin;
        end = next + rows_->runs[run_].bytes;
      }
      __builtin_prefetch(next, 0, kFirstLevel);
      next += kCacheLine;
    }
    next_ = next;
    end_ = end;
  }

 private:
  const TileRows* rows_ = nullptr;
  std::size_t run_ = 0;
  const std::byte* next_ = nullptr;  // of runs[run_]
  const std::byte* end_ = nullptr;
  std::size_t lines_per_step_ = 0;
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
