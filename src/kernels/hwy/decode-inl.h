// Attention of one token's query heads over pages of the cache. Compiled once per target.
//
// Why this method: decode reads every key and value once, so reading and expanding a row must serve
// the whole group. Up to 32 rows, across page borders, are multiplied as in prefill: f16 is widened
// within the products, keys after they were transposed; all else is expanded to f32 first. The
// order of sums depends on the rows of the segment only.

#if defined(RESTKV_KERNELS_HWY_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/hwy/decode_rows-inl.h"
#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kExpandStep = 4;  // rows that are expanded between two steps of prefetching

// As many vectors of columns as keep the multiply-adds busy beside so many query heads.
template <std::size_t kHeads>
constexpr std::size_t kWide = std::min<std::size_t>(
    kHeads >= 4 || kManyRegisters ? 2 : (kHeads == 1 ? 8 : 4), kDecodeTile / kLanes);

// What the kernel reads of a missing row.
HWY_ALIGN constexpr std::byte kNoRow[2 * kMaxHeadDim] = {};

// Rows of the segment made ready.
struct DecodeTile {
  HWY_ALIGN float keys[kDecodeTile * kMaxHeadDim];               // [dim][kDecodeTile]
  HWY_ALIGN float values[kDecodeTile * kMaxHeadDim];             // [kDecodeTile][dim]
  HWY_ALIGN std::uint16_t half_keys[kDecodeTile * kMaxHeadDim];  // [dim][kDecodeTile]
  std::size_t first = 0;                                         // rows before this tile
  std::size_t rows = 0;
  const std::byte* const* value_rows = nullptr;  // [rows] as they lie in the cache
  const std::uint8_t* const* masks = nullptr;    // [rows], or null: all heads see all rows
};

// How a tile holds its rows.
struct HalvesAsTheyAre {  // f16
  static HalfColumns keys(const DecodeTile& tile, std::size_t key) {
    return {tile.half_keys + key, kDecodeTile};
  }
  static HalfRows values(const DecodeTile& tile, std::size_t /*dim*/, std::size_t column) {
    return {tile.value_rows, column};
  }
};
struct Expanded {
  static FloatColumns keys(const DecodeTile& tile, std::size_t key) {
    return {tile.keys + key, kDecodeTile};
  }
  static FloatColumns values(const DecodeTile& tile, std::size_t dim, std::size_t column) {
    return {tile.values + column, dim};
  }
};

bool halves_as_they_are(const DecodeAttentionArgs& args) {
  return kConvertsF16 && args.type_k == KvType::kF16 && args.type_v == KvType::kF16 &&
         args.head_dim % kPanel == 0;
}

void transpose_keys(const DecodeAttentionArgs& args, TileRows& rows, DecodeTile& tile,
                    Prefetch& prefetch) {
  const hn::Repartition<std::uint16_t, F32> d16;
  std::fill(rows.keys + rows.count, rows.keys + kDecodeTile, kNoRow);
  for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
    std::uint16_t* const to = tile.half_keys + key;
    transpose_halves(rows.keys + key, args.head_dim,
                     [d16, to](std::size_t column, auto halves)
                         HWY_ATTR { hn::StoreU(halves, d16, to + column * kDecodeTile); });
    prefetch.step();
  }
}

void expand(const DecodeAttentionArgs& args, TileRows& rows, std::size_t dim, DecodeTile& tile,
            Prefetch& prefetch) {
  const bool halves = args.type_k == KvType::kF16 || args.type_k == KvType::kBf16;
  if (kConvertsF16 && halves && args.head_dim % 8 == 0) {
    std::fill(rows.keys + rows.count, rows.keys + kDecodeTile, kNoRow);
    for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
      widen_transposed(args.type_k, rows.keys + key, args.head_dim, kDecodeTile, tile.keys + key);
      prefetch.step();
    }
  } else {
    float* const flat = tile.values;  // free until the values are expanded
    for (std::size_t i = 0; i < rows.count; ++i) {
      expand_row(args.type_k, rows.keys[i], args.head_dim, dim, flat + i * dim);
    }
    std::fill(flat + rows.count * dim, flat + kDecodeTile * dim, 0.0F);
    transpose(flat, dim, kDecodeTile, tile.keys);
  }
  for (std::size_t i = 0; i < rows.count; ++i) {
    expand_row(args.type_v, rows.values[i], args.head_dim, dim, tile.values + i * dim);
    if (i % kExpandStep == 0) prefetch.step();
  }
}

// acc = acc * rescale + weights * values for kVectors vectors of columns.
template <std::size_t kHeads, std::size_t kVectors, class Values>
HWY_INLINE void accumulate(const float* weights, const float* rescale, Values values,
                           std::size_t rows, float* acc, std::size_t acc_stride) {
  const F32 d;
  Sums<kHeads, kVectors> sums;
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums.at[h][v] = hn::Mul(hn::LoadU(d, acc + h * acc_stride + v * kLanes), all(rescale[h]));
    }
  }
  multiply(RowMajor{weights, kDecodeTile}, values, rows, sums);
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sums.at[h][v], d, acc + h * acc_stride + v * kLanes);
    }
  }
}

// Rows that a head does not see get no weight. A head that sees none of the tile's rows keeps its
// sums: kHidden is far below where a maximum starts.
void hide_rows(const DecodeTile& tile, std::size_t head, float* logits) {
  for (std::size_t i = 0; i < tile.rows; ++i) {
    if (!sees_row(tile.masks[i], head)) logits[i] = kHidden;
  }
}

// Turns a tile's logits into weights, exp(logit - max), and adds them to the head's sum. Returns
// what everything added before has to be multiplied by.
HWY_INLINE float weigh(float* logits, float& max, float& sum) {
  const F32 d;
  constexpr std::size_t kVectors = kDecodeTile / kLanes;
  Vf row[kVectors];
  Vf largest = all(std::max(max, kLowestLogit));
  for (std::size_t v = 0; v < kVectors; ++v) {
    row[v] = hn::Load(d, logits + v * kLanes);
    largest = hn::Max(largest, row[v]);
  }
  // Mostly the maximum stands, and nothing has to wait for the largest of the lanes.
  float rescale = 1.0F;
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Eq(largest, all(max))))) {
    const float new_max = max_of(largest);
    rescale = hn::GetLane(exp(all(max - new_max)));
    max = new_max;
  }
  Vf added = hn::Zero(d);
  for (std::size_t v = 0; v < kVectors; ++v) {
    const Vf weight = exp_at_most_88(hn::Sub(row[v], all(max)));
    hn::Store(weight, d, logits + v * kLanes);
    added = hn::Add(added, weight);
  }
  sum = sum * rescale + sum_of(added);
  return rescale;
}

// Adds the tile to the partials of query heads [head, head + kHeads).
template <class Form, std::size_t kHeads>
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
    multiply(queries, Form::keys(tile, key), n, sums);
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
  if (tile.rows < kDecodeTile) {
    for (auto& row : weights) std::fill(row + tile.rows, row + kDecodeTile, kHidden);
  }
  for (std::size_t h = 0; h < kHeads; ++h) {
    if (tile.masks != nullptr) hide_rows(tile, head + h, weights[h]);
    rescale[h] = weigh(weights[h], max[h], sum[h]);
  }

  std::size_t column = 0;
  for (; column + kVectors * kLanes <= n; column += kVectors * kLanes) {
    accumulate<kHeads, kVectors>(weights[0], rescale, Form::values(tile, dim, column), tile.rows,
                                 acc + column, n);
    prefetch.step();
  }
  for (; column + kLanes <= n; column += kLanes) {
    accumulate<kHeads, 1>(weights[0], rescale, Form::values(tile, dim, column), tile.rows,
                          acc + column, n);
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

template <class Form>
void attend(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t dim,
            Prefetch& prefetch) {
  using Attend =
      void (*)(const DecodeAttentionArgs&, const DecodeTile&, std::size_t, std::size_t, Prefetch&);
  constexpr Attend kAttend[] = {attend_heads<Form, 1>, attend_heads<Form, 2>, attend_heads<Form, 3>,
                                attend_heads<Form, 4>, attend_heads<Form, 5>, attend_heads<Form, 6>,
                                attend_heads<Form, 7>};
  const std::size_t parts = parts_of(args.group);
  std::size_t head = 0;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t heads = (args.group - head + parts - part - 1) / (parts - part);
    kAttend[heads - 1](args, tile, dim, head, prefetch);
    head += heads;
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + args.group, args.group * (1 + args.head_dim), 0.0F);
  const std::size_t dim = round_up(args.head_dim, kLineFloats);
  const bool as_they_are = halves_as_they_are(args);
  const std::size_t steps =  // at the least
      kDecodeTile / kPanel + (as_they_are ? 0 : kDecodeTile / kExpandStep) +
      parts_of(args.group) * (1 + dim / (4 * kLanes));
  DecodeTile tile;
  RowWalk walk(args);
  TileRows rows[3];  // of this tile, and of two that are on their way, in turn
  Prefetch prefetch;
  for (std::size_t first = 0; first < 2; ++first) {
    walk.next(rows[first]);
    prefetch.start(rows[first], 1);
    prefetch.step();
  }
  for (std::size_t turn = 0; rows[turn].count > 0; turn = (turn + 1) % 3) {
    const std::size_t ahead = (turn + 2) % 3;
    walk.next(rows[ahead]);
    prefetch.start(rows[ahead], steps);
    tile.first += tile.rows;
    tile.rows = rows[turn].count;
    tile.value_rows = rows[turn].values;
    tile.masks = args.pages.front().masks != nullptr ? rows[turn].masks : nullptr;
    if (as_they_are) {
      transpose_keys(args, rows[turn], tile, prefetch);
      attend<HalvesAsTheyAre>(args, tile, dim, prefetch);
    } else {
      expand(args, rows[turn], dim, tile, prefetch);
      attend<Expanded>(args, tile, dim, prefetch);
    }
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
