// Attention of one token's query heads over pages of the cache. Compiled once per target.
//
// Why this method: decode reads every key and value once, so reading and expanding a row must serve
// the whole group. Up to 32 rows, across page borders, are expanded to f32 and multiplied as in
// prefill. The order of sums depends on the rows of the segment only.

#if defined(RESTKV_KERNELS_HWY_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kDecodeTile = 32;
constexpr std::size_t kMostHeads = 6;  // query heads that one tile product takes
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kExpandStep = 4;  // rows that are expanded between two steps of prefetching

// As many vectors of columns as keep the multiply-adds busy beside so many query heads.
template <std::size_t kHeads>
constexpr std::size_t kWide = std::min<std::size_t>(
    kHeads >= 4 || kManyRegisters ? 2 : (kHeads == 1 ? 8 : 4), kDecodeTile / kLanes);

// What the kernel reads of a missing row.
HWY_ALIGN constexpr std::byte kNoRow[2 * kMaxHeadDim] = {};

// The rows of a tile where the cache holds them.
struct TileRows {
  const std::byte* keys[kDecodeTile];
  const std::byte* values[kDecodeTile];
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
      for (std::size_t i = 0; i < taken; ++i) {
        rows.keys[rows.count + i] = keys + i * key_bytes_;
        rows.values[rows.count + i] = values + i * value_bytes_;
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
  std::size_t page_ = 0;
  std::size_t row_ = 0;
};

// Brings the next tile's rows into the cache a few lines at a time, all through the work on this
// one: without it, decode waits for each page; asked for in bursts, the lines wait for one another.
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
      hwy::Prefetch(next);
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

// A tile of rows as f32.
struct DecodeTile {
  HWY_ALIGN float keys[kDecodeTile * kMaxHeadDim];    // [dim][kDecodeTile]
  HWY_ALIGN float values[kDecodeTile * kMaxHeadDim];  // [kDecodeTile][dim]
  std::size_t first = 0;                              // rows of the segment before this tile
  std::size_t rows = 0;
};

void expand_keys(const DecodeAttentionArgs& args, TileRows& rows, std::size_t dim,
                 DecodeTile& tile) {
  const bool halves = args.type_k == KvType::kF16 || args.type_k == KvType::kBf16;
  if (kConvertsF16 && halves && args.head_dim % 8 == 0) {
    std::fill(rows.keys + rows.count, rows.keys + kDecodeTile, kNoRow);
    for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
      transpose_halves(args.type_k, rows.keys + key, args.head_dim, kDecodeTile, tile.keys + key);
    }
    return;
  }
  float* const flat = tile.values;  // free until the values are expanded
  for (std::size_t i = 0; i < rows.count; ++i) {
    expand_row(args.type_k, rows.keys[i], args.head_dim, dim, flat + i * dim);
  }
  std::fill(flat + rows.count * dim, flat + kDecodeTile * dim, 0.0F);
  transpose(flat, dim, kDecodeTile, tile.keys);
}

void expand(const DecodeAttentionArgs& args, TileRows& rows, std::size_t dim, DecodeTile& tile,
            Prefetch& prefetch) {
  tile.first += tile.rows;
  tile.rows = rows.count;
  expand_keys(args, rows, dim, tile);
  const bool plain = args.type_v == KvType::kF16 && args.head_dim % (2 * kLanes) == 0;
  for (std::size_t i = 0; i < rows.count; ++i) {
    if (i % kExpandStep == 0) prefetch.step();
    float* const out = tile.values + i * dim;
    if (!plain) {
      expand_row(args.type_v, rows.values[i], args.head_dim, dim, out);
      continue;
    }
    // The common case, without a call for every row.
    const std::byte* const row = rows.values[i];
    for (std::size_t c = 0; c < args.head_dim; c += 2 * kLanes) {
      hn::StoreU(load_f16(row + 2 * c), F32(), out + c);
      hn::StoreU(load_f16(row + 2 * (c + kLanes)), F32(), out + c + kLanes);
    }
    std::fill(out + args.head_dim, out + dim, 0.0F);
  }
}

// acc = acc * rescale + weights * values for kVectors vectors of columns.
template <std::size_t kHeads, std::size_t kVectors>
HWY_INLINE void accumulate(const float* weights, const float* rescale, const float* values,
                           std::size_t dim, std::size_t rows, float* acc, std::size_t acc_stride) {
  const F32 d;
  Sums<kHeads, kVectors> sums;
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums.at[h][v] = hn::Mul(hn::LoadU(d, acc + h * acc_stride + v * kLanes), all(rescale[h]));
    }
  }
  multiply(RowMajor{weights, kDecodeTile}, values, dim, rows, sums);
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sums.at[h][v], d, acc + h * acc_stride + v * kLanes);
    }
  }
}

// Adds the tile to the partials of query heads [head, head + kHeads).
template <std::size_t kHeads>
void attend_heads(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t dim,
                  std::size_t head, Prefetch& prefetch) {
  const F32 d;
  const std::size_t n = args.head_dim;
  float* const max = args.partial + head;
  float* const sum = max + args.group;
  float* const acc = args.partial + 2 * args.group + head * n;
  HWY_ALIGN float weights[kHeads][kDecodeTile];
  float rescale[kHeads];

  constexpr std::size_t kVectors = kWide<kHeads>;
  const RowMajor queries = {args.q + head * n, n};
  const float scale = product_scale(args.rule);
  const float cap = args.rule.softcap;
  const std::size_t padded = round_up(tile.rows, kPanel);
  for (std::size_t key = 0; key < padded; key += kVectors * kLanes) {
    auto sums = zero_sums<kHeads, kVectors>();
    multiply(queries, tile.keys + key, kDecodeTile, n, sums);
    prefetch.step();
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        const Vf scaled = hn::Mul(sums.at[h][v], all(scale));
        hn::Store(cap > 0.0F ? softcap(scaled, cap) : scaled, d, weights[h] + key + v * kLanes);
      }
    }
  }

  if (args.logits != nullptr) {
    for (std::size_t h = 0; h < kHeads; ++h) {
      std::copy_n(weights[h], tile.rows, args.logits + (head + h) * args.logit_stride + tile.first);
    }
  }
  for (std::size_t h = 0; h < kHeads; ++h) {
    std::fill(weights[h] + tile.rows, weights[h] + padded, kHidden);
    Vf largest = all(std::max(max[h], kLowestLogit));
    for (std::size_t key = 0; key < padded; key += kLanes) {
      largest = hn::Max(largest, hn::Load(d, weights[h] + key));
    }
    // Mostly the maximum stands, and nothing has to wait for the largest of the lanes.
    float new_max = max[h];
    rescale[h] = 1.0F;
    if (!hn::AllTrue(d, hn::Eq(largest, all(new_max)))) {
      new_max = max_of(largest);
      rescale[h] = hn::GetLane(exp(all(max[h] - new_max)));
      max[h] = new_max;
    }
    Vf added = hn::Zero(d);
    for (std::size_t key = 0; key < padded; key += kLanes) {
      const Vf weight = exp(hn::Sub(hn::Load(d, weights[h] + key), all(new_max)));
      hn::Store(weight, d, weights[h] + key);
      added = hn::Add(added, weight);
    }
    sum[h] = sum[h] * rescale[h] + sum_of(added);
  }

  std::size_t column = 0;
  for (; column + kVectors * kLanes <= n; column += kVectors * kLanes) {
    accumulate<kHeads, kVectors>(weights[0], rescale, tile.values + column, dim, tile.rows,
                                 acc + column, n);
    prefetch.step();
  }
  for (; column + kLanes <= n; column += kLanes) {
    accumulate<kHeads, 1>(weights[0], rescale, tile.values + column, dim, tile.rows, acc + column,
                          n);
  }
  for (; column < n; ++column) {
    for (std::size_t h = 0; h < kHeads; ++h) {
      float value = acc[h * n + column] * rescale[h];
      for (std::size_t i = 0; i < tile.rows; ++i) {
        value += weights[h][i] * tile.values[i * dim + column];
      }
      acc[h * n + column] = value;
    }
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  using Attend =
      void (*)(const DecodeAttentionArgs&, const DecodeTile&, std::size_t, std::size_t, Prefetch&);
  constexpr Attend kAttend[kMostHeads] = {attend_heads<1>, attend_heads<2>, attend_heads<3>,
                                          attend_heads<4>, attend_heads<5>, attend_heads<6>};
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + args.group, args.group * (1 + args.head_dim), 0.0F);
  const std::size_t dim = round_up(args.head_dim, kLineFloats);
  // 7 heads are 4 + 3, not 6 + 1: a product of few rows waits for its own sums.
  const std::size_t parts = (args.group + kMostHeads - 1) / kMostHeads;
  const std::size_t steps =
      kDecodeTile / kExpandStep + parts * (1 + dim / (4 * kLanes));  // at the least
  DecodeTile tile;
  RowWalk walk(args);
  TileRows rows[2];  // of this tile and of the next, in turn
  Prefetch prefetch;
  walk.next(rows[0]);
  for (std::size_t turn = 0; rows[turn].count > 0; turn = 1 - turn) {
    walk.next(rows[1 - turn]);
    prefetch.start(rows[1 - turn], steps);
    expand(args, rows[turn], dim, tile, prefetch);
    std::size_t head = 0;
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t heads = (args.group - head + parts - part - 1) / (parts - part);
      kAttend[heads - 1](args, tile, dim, head, prefetch);
      head += heads;
    }
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
