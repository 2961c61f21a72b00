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

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kDecodeTile = 32;
constexpr std::size_t kMostHeads = 6;  // query heads that one tile product takes

// A tile of rows, and where the next one starts.
struct DecodeTile {
  HWY_ALIGN float keys[kDecodeTile * kMaxHeadDim];  // [kDecodeTile / kPanel][dim][kPanel]
  HWY_ALIGN float
      values[kDecodeTile * kMaxHeadDim];  // [kDecodeTile][dim]; keys before they are packed
  std::size_t rows = 0;
  std::size_t page = 0;
  std::size_t row = 0;
};

// Fills the tile with the segment's next rows. False when there is none.
bool next_tile(const DecodeAttentionArgs& args, std::size_t dim, DecodeTile& tile) {
  const std::size_t key_bytes = kv_row_bytes(args.type_k, args.head_dim);
  const std::size_t value_bytes = kv_row_bytes(args.type_v, args.head_dim);
  const std::byte* sources[kDecodeTile];
  tile.rows = 0;
  while (tile.rows < kDecodeTile && tile.page < args.pages.size()) {
    const PageView& page = args.pages[tile.page];
    if (tile.row >= page.rows) {
      tile.row = 0;
      ++tile.page;
      continue;
    }
    expand_row(args.type_k, page.keys + tile.row * key_bytes, args.head_dim, dim,
               tile.values + tile.rows * dim);
    sources[tile.rows++] = page.values + tile.row++ * value_bytes;
  }
  if (tile.rows == 0) return false;
  std::fill(tile.values + tile.rows * dim, tile.values + kDecodeTile * dim, 0.0F);
  for (std::size_t key = 0; key < tile.rows; key += kPanel) {
    transpose(tile.values + key * dim, dim, kPanel, tile.keys + key * dim);
  }
  for (std::size_t i = 0; i < tile.rows; ++i) {
    expand_row(args.type_v, sources[i], args.head_dim, dim, tile.values + i * dim);
  }
  return true;
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
                  std::size_t head) {
  const F32 d;
  const std::size_t n = args.head_dim;
  float* const max = args.partial + head;
  float* const sum = max + args.group;
  float* const acc = args.partial + 2 * args.group + head * n;
  HWY_ALIGN float weights[kHeads][kDecodeTile];
  float rescale[kHeads];

  const RowMajor queries = {args.q + head * n, n};
  const float scale = product_scale(args.rule);
  const float cap = args.rule.softcap;
  const std::size_t padded = round_up(tile.rows, kPanel);
  for (std::size_t key = 0; key < padded; key += kPanel) {
    auto sums = zero_sums<kHeads, 2>();
    multiply(queries, tile.keys + key * dim, kPanel, n, sums);
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t v = 0; v < 2; ++v) {
        const Vf scaled = hn::Mul(sums.at[h][v], all(scale));
        hn::Store(cap > 0.0F ? softcap(scaled, cap) : scaled, d, weights[h] + key + v * kLanes);
      }
    }
  }

  for (std::size_t h = 0; h < kHeads; ++h) {
    std::fill(weights[h] + tile.rows, weights[h] + padded, kHidden);
    Vf largest = all(std::max(max[h], kLowestLogit));
    for (std::size_t key = 0; key < padded; key += kLanes) {
      largest = hn::Max(largest, hn::Load(d, weights[h] + key));
    }
    const float new_max = max_of(largest);
    Vf added = hn::Zero(d);
    for (std::size_t key = 0; key < padded; key += kLanes) {
      const Vf weight = exp(hn::Sub(hn::Load(d, weights[h] + key), all(new_max)));
      hn::Store(weight, d, weights[h] + key);
      added = hn::Add(added, weight);
    }
    rescale[h] = max[h] == new_max ? 1.0F : hn::GetLane(exp(all(max[h] - new_max)));
    max[h] = new_max;
    sum[h] = sum[h] * rescale[h] + sum_of(added);
  }

  std::size_t column = 0;
  for (; column + kPanel <= n; column += kPanel) {
    accumulate<kHeads, 2>(weights[0], rescale, tile.values + column, dim, tile.rows, acc + column,
                          n);
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
  using Attend = void (*)(const DecodeAttentionArgs&, const DecodeTile&, std::size_t, std::size_t);
  constexpr Attend kAttend[kMostHeads] = {attend_heads<1>, attend_heads<2>, attend_heads<3>,
                                          attend_heads<4>, attend_heads<5>, attend_heads<6>};
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + args.group, args.group * (1 + args.head_dim), 0.0F);
  const std::size_t dim = round_up(args.head_dim, kLineFloats);
  // 7 heads are 4 + 3, not 6 + 1: a product of few rows waits for its own sums.
  const std::size_t parts = (args.group + kMostHeads - 1) / kMostHeads;
  DecodeTile tile;
  tile.row = args.skip_rows;
  while (next_tile(args, dim, tile)) {
    std::size_t head = 0;
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t heads = (args.group - head + parts - part - 1) / (parts - part);
      kAttend[heads - 1](args, tile, dim, head);
      head += heads;
    }
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
