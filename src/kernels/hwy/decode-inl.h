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
#include <iterator>
#include <limits>

#include "kernels/hwy/decode_rows-inl.h"
#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Query heads that one walk over the rows serves.
constexpr std::size_t kHeadsAtOnce = 4 * kMostHeads;

// As many vectors of columns as keep the multiply-adds busy beside so many query heads.
template <std::size_t kHeads>
constexpr std::size_t kWide = std::min<std::size_t>(
    kHeads >= 4 || kManyRegisters ? 2 : (kHeads == 1 ? 8 : 4), kDecodeTile / kLanes);

// Few query heads leave their products so little time that a third of a later tile's lines has to
// be fetched while rows are made ready, and the rest beside the products; else all beside them.
constexpr std::size_t kFewHeads = 3;
constexpr std::size_t kLinesBesideTransposing = (kPanel + 4) / 5;  // 8 columns of kPanel keys
template <std::size_t kHeads, std::size_t kVectors>
constexpr std::size_t kLinesBeside =  // each part of the products of so many vectors
    std::max<std::size_t>(kVectors * kLanes * kBesideStep / (kHeads <= kFewHeads ? 48 : 32), 1);

// Rows of the segment made ready.
struct DecodeTile {
  HWY_ALIGN float keys[kDecodeTile * kMaxHeadDim];               // [dim][kDecodeTile]
  HWY_ALIGN float values[kDecodeTile * kMaxHeadDim];             // [kDecodeTile][dim]
  HWY_ALIGN std::uint16_t half_keys[kDecodeTile * kMaxHeadDim];  // [dim][kDecodeTile]
  // Sums of weights, lane by lane until the segment's end.
  HWY_ALIGN float lane_sums[kHeadsAtOnce][kLanes];
  std::size_t first_head = 0;  // whose sums are lane_sums[0]
  std::size_t first = 0;       // rows before this tile
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

void transpose_keys(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                    Prefetch& prefetch) {
  const hn::Repartition<std::uint16_t, F32> d16;
  for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
    std::uint16_t* const to = tile.half_keys + key;
    for (std::size_t column = 0; column < args.head_dim; column += 8) {
      transpose_eight(rows.keys + key, column, [d16, to](std::size_t at, auto halves) HWY_ATTR {
        hn::StoreU(halves, d16, to + at * kDecodeTile);
      });
      if (args.group <= kFewHeads) prefetch.step<kLinesBesideTransposing>();
    }
  }
}

void expand(const DecodeAttentionArgs& args, const TileRows& rows, std::size_t dim,
            DecodeTile& tile, Prefetch& prefetch) {
  const bool halves = args.type_k == KvType::kF16 || args.type_k == KvType::kBf16;
  if (kConvertsF16 && halves && args.head_dim % 8 == 0) {
    for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
      widen_transposed(args.type_k, rows.keys + key, args.head_dim, kDecodeTile, tile.keys + key);
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
    if (args.group <= kFewHeads) prefetch.step<2>();
  }
}

// acc = acc * rescale + weights * values for kVectors vectors of columns.
template <std::size_t kHeads, std::size_t kVectors, class Values>
HWY_INLINE void accumulate(const float* weights, const float* rescale, Values values,
                           std::size_t rows, float* acc, std::size_t acc_stride,
                           Prefetch& prefetch) {
  const F32 d;
  Sums<kHeads, kVectors> sums;
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums.at[h][v] = hn::Mul(hn::LoadU(d, acc + h * acc_stride + v * kLanes), all(rescale[h]));
    }
  }
  multiply(RowMajor{weights, kDecodeTile}, values, rows, sums,
           [&prefetch](std::size_t /*row*/)
               HWY_ATTR { prefetch.template step<kLinesBeside<kHeads, kVectors>>(); });
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

// Turns a tile's logits into weights, exp(logit - max), and adds them to the head's sums. Returns
// what everything added before has to be multiplied by.
HWY_INLINE float weigh(float* logits, float& max, float* lane_sums) {
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
  Vf added = hn::Mul(hn::Load(d, lane_sums), all(rescale));
  for (std::size_t v = 0; v < kVectors; ++v) {
    const Vf weight = exp_at_most_88(hn::Sub(row[v], all(max)));
    hn::Store(weight, d, logits + v * kLanes);
    added = hn::Add(added, weight);
  }
  hn::Store(added, d, lane_sums);
  return rescale;
}

// The query heads that one walk over the rows serves.
struct Heads {
  std::size_t first;
  std::size_t count;  // kHeadsAtOnce at the most
};

// Adds the tile to the partials of query heads [head, head + kHeads).
template <class Form, std::size_t kHeads>
void attend_heads(const DecodeAttentionArgs& args, DecodeTile& tile, std::size_t dim, Heads heads,
                  Prefetch& prefetch) {
  const F32 d;
  const std::size_t n = args.head_dim;
  const std::size_t head = heads.first;
  float* const max = args.partial + head;
  float* const acc = args.partial + 2 * args.group + head * n;
  HWY_ALIGN float weights[kHeads][kDecodeTile];
  float rescale[kHeads];

  constexpr std::size_t kVectors = kWide<kHeads>;
  const RowMajor queries = {args.q + head * n, n};
  const float scale = product_scale(args.rule);
  const float cap = args.rule.softcap;
  // All but the last tile are full, and the compiler knows how many turns that are.
  for (std::size_t key = 0; key < kDecodeTile; key += kVectors * kLanes) {
    if (key >= tile.rows) break;
    auto sums = zero_sums<kHeads, kVectors>();
    multiply(queries, Form::keys(tile, key), n, sums, [&](std::size_t column) HWY_ATTR {
      prefetch.template step<kLinesBeside<kHeads, kVectors>>();
    });
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
    rescale[h] = weigh(weights[h], max[h], tile.lane_sums[head + h - tile.first_head]);
  }

  std::size_t column = 0;
  for (; column + kVectors * kLanes <= n; column += kVectors * kLanes) {
    accumulate<kHeads, kVectors>(weights[0], rescale, Form::values(tile, dim, column), tile.rows,
                                 acc + column, n, prefetch);
  }
  for (; column + kLanes <= n; column += kLanes) {
    accumulate<kHeads, 1>(weights[0], rescale, Form::values(tile, dim, column), tile.rows,
                          acc + column, n, prefetch);
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
void attend(const DecodeAttentionArgs& args, DecodeTile& tile, std::size_t dim, Heads heads,
            Prefetch& prefetch) {
  using Attend = void (*)(const DecodeAttentionArgs&, DecodeTile&, std::size_t, Heads, Prefetch&);
  constexpr Attend kAttend[] = {attend_heads<Form, 1>, attend_heads<Form, 2>, attend_heads<Form, 3>,
                                attend_heads<Form, 4>, attend_heads<Form, 5>, attend_heads<Form, 6>,
                                attend_heads<Form, 7>, attend_heads<Form, 8>};
  static_assert(std::size(kAttend) >= kMostHeads);
  const std::size_t end = heads.first + heads.count;
  for (std::size_t parts = parts_of(heads.count); parts > 0; --parts) {
    heads.count = (end - heads.first + parts - 1) / parts;
    kAttend[heads.count - 1](args, tile, dim, heads, prefetch);
    heads.first += heads.count;
  }
}

void attend_segment(const DecodeAttentionArgs& args, Heads heads) {
  const std::size_t dim = round_up(args.head_dim, kLineFloats);
  const bool as_they_are = halves_as_they_are(args);
  DecodeTile tile;
  tile.first_head = heads.first;
  std::fill_n(tile.lane_sums[0], heads.count * kLanes, 0.0F);
  RowWalk walk(args);
  TileRows rows[3];  // of this tile, and of two that are on their way, in turn
  Prefetch prefetch;
  for (std::size_t first = 0; first < 2; ++first) {
    walk.next(rows[first]);
    prefetch.start(rows[first]);
    prefetch.finish();
  }
  for (std::size_t turn = 0; rows[turn].count > 0; turn = (turn + 1) % 3) {
    TileRows& ahead = rows[(turn + 2) % 3];
    walk.next(ahead);
    prefetch.start(ahead);
    tile.rows = rows[turn].count;
    tile.value_rows = rows[turn].values;
    tile.masks = args.pages.front().masks != nullptr ? rows[turn].masks : nullptr;
    if (as_they_are) {
      transpose_keys(args, rows[turn], tile, prefetch);
      attend<HalvesAsTheyAre>(args, tile, dim, heads, prefetch);
    } else {
      expand(args, rows[turn], dim, tile, prefetch);
      attend<Expanded>(args, tile, dim, heads, prefetch);
    }
    prefetch.finish();
    tile.first += tile.rows;
  }
  for (std::size_t h = 0; h < heads.count; ++h) {
    args.partial[args.group + heads.first + h] = sum_of(hn::Load(F32(), tile.lane_sums[h]));
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + 2 * args.group, args.group * args.head_dim, 0.0F);
  for (std::size_t head = 0; head < args.group; head += kHeadsAtOnce) {
    attend_segment(args, {.first = head, .count = std::min(kHeadsAtOnce, args.group - head)});
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
