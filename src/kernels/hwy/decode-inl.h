// Attention of one token's query heads over pages of the cache. Compiled once per target.
//
// Why this method: decode reads every key and value once, so reading and expanding a row must serve
// the whole group (of a very large one, kHeadsAtOnce). Up to 32 rows, across page borders, are
// multiplied as in prefill. The order of sums depends on the rows of the segment only.

#if defined(RESTKV_KERNELS_HWY_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "kernels/hwy/decode_rows-inl.h"
#include "kernels/hwy/decode_tiles-inl.h"
#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// As many vectors of columns as keep the multiply-adds busy beside so many query heads.
template <std::size_t kHeads>
constexpr std::size_t kWide = std::min<std::size_t>(
    kHeads >= 4 || kManyRegisters ? 2 : (kHeads == 1 ? 8 : 4), kDecodeTile / kLanes);

// acc = acc * rescale + weights * values for kVectors vectors of columns.
template <class Form, std::size_t kHeads, std::size_t kVectors>
HWY_INLINE void accumulate(const DecodeTile& tile, std::size_t column, const float* weights,
                           const float* rescale, float* acc, std::size_t acc_stride,
                           Prefetch& prefetch) {
  const F32 d;
  Sums<kHeads, kVectors> sums;
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums.at[h][v] = hn::Mul(hn::LoadU(d, acc + h * acc_stride + v * kLanes), all(rescale[h]));
    }
  }
  Form::add_values(tile, column, weights, sums,
                   [&prefetch]() HWY_ATTR { prefetch.step<kLinesBeside<kHeads, kVectors>>(); });
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

// Logits of query heads [head, head + kHeads) for the tile's rows; kHidden behind the last one.
template <class Form, std::size_t kHeads>
HWY_INLINE void compute_logits(const DecodeAttentionArgs& args, const DecodeTile& tile,
                               std::size_t head, Prefetch& prefetch, float (*logits)[kDecodeTile]) {
  const F32 d;
  constexpr std::size_t kVectors = kWide<kHeads>;
  const RowMajor queries = {args.q + head * args.head_dim, args.head_dim};
  const float scale = product_scale(args.rule);
  const float cap = args.rule.softcap;
  // Written so that the compiler knows how many turns there are at the most.
  for (std::size_t key = 0; key < kDecodeTile; key += kVectors * kLanes) {
    if (key >= tile.rows) break;
    auto sums = zero_sums<kHeads, kVectors>();
    Form::add_logits(tile, key, queries, args.head_dim, sums,
                     [&prefetch]() HWY_ATTR { prefetch.step<kLinesBeside<kHeads, kVectors>>(); });
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        const Vf scaled = hn::Mul(sums.at[h][v], all(scale));
        hn::Store(cap > 0.0F ? softcap(scaled, cap) : scaled, d, logits[h] + key + v * kLanes);
      }
    }
  }
  for (std::size_t h = 0; args.logits != nullptr && h < kHeads; ++h) {
    std::copy_n(logits[h], tile.rows, args.logits + (head + h) * args.logit_stride + tile.first);
  }
  for (std::size_t h = 0; tile.rows < kDecodeTile && h < kHeads; ++h) {
    std::fill(logits[h] + tile.rows, logits[h] + kDecodeTile, kHidden);
  }
}

// Adds the tile to the partials of query heads [head, head + kHeads).
template <class Form, std::size_t kHeads>
void attend_heads(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t head,
                  DecodePass& pass) {
  const std::size_t n = args.head_dim;
  float* const max = args.partial + head;
  float* const acc = args.partial + 2 * args.group + head * n;
  HWY_ALIGN float weights[kHeads][kDecodeTile];
  float rescale[kHeads];
  compute_logits<Form, kHeads>(args, tile, head, pass.prefetch, weights);
  for (std::size_t h = 0; h < kHeads; ++h) {
    if (tile.masks != nullptr) hide_rows(tile, head + h, weights[h]);
    rescale[h] = weigh(weights[h], max[h], pass.lane_sums[head + h - pass.first_head]);
  }

  constexpr std::size_t kVectors = kWide<kHeads>;
  std::size_t column = 0;
  for (; column + kVectors * kLanes <= n; column += kVectors * kLanes) {
    accumulate<Form, kHeads, kVectors>(tile, column, weights[0], rescale, acc + column, n,
                                       pass.prefetch);
  }
  for (; column + kLanes <= n; column += kLanes) {
    accumulate<Form, kHeads, 1>(tile, column, weights[0], rescale, acc + column, n, pass.prefetch);
  }
  for (; column < n; ++column) {
    for (std::size_t h = 0; h < kHeads; ++h) {
      float value = acc[h * n + column] * rescale[h];
      for (std::size_t i = 0; i < tile.rows; ++i) {
        value += weights[h][i] * tile.values[i * tile.dim + column];
      }
      acc[h * n + column] = value;
    }
  }
}

// attend_heads for 1 to kMostHeads query heads.
template <class Form, std::size_t... kLess>
constexpr auto attend_functions(std::index_sequence<kLess...> /*heads*/) {
  return std::array{&attend_heads<Form, kLess + 1>...};
}

template <class Form>
void attend_segment(const DecodeAttentionArgs& args, DecodePass& pass) {
  constexpr auto kAttend = attend_functions<Form>(std::make_index_sequence<kMostHeads>());
  DecodeTile tile;
  tile.dim = round_up(args.head_dim, kLineFloats);
  RowWalk walk(args);
  TileRows rows[3];  // of this tile, and of two that are on their way, in turn
  for (std::size_t first = 0; first < 2; ++first) {
    walk.next(rows[first]);
    pass.prefetch.start(rows[first]);
    pass.prefetch.finish();
  }
  for (std::size_t turn = 0; rows[turn].count > 0; turn = (turn + 1) % 3) {
    TileRows& ahead = rows[(turn + 2) % 3];
    walk.next(ahead);
    pass.prefetch.start(ahead);
    tile.rows = rows[turn].count;
    tile.value_rows = rows[turn].values;
    tile.masks = args.pages.front().masks != nullptr ? rows[turn].masks : nullptr;
    Form::make_ready(args, rows[turn], tile, pass);
    for_each_part(pass.heads, kMostHeads, [&](std::size_t first, std::size_t heads) HWY_ATTR {
      kAttend[heads - 1](args, tile, pass.first_head + first, pass);
    });
    pass.prefetch.finish();
    tile.first += tile.rows;
  }
  float* const sum = args.partial + args.group + pass.first_head;
  for (std::size_t h = 0; h < pass.heads; ++h) {
    sum[h] = sum_of(hn::Load(F32(), pass.lane_sums[h]));
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + 2 * args.group, args.group * args.head_dim, 0.0F);
  for_each_part(args.group, kHeadsAtOnce, [&args](std::size_t first, std::size_t heads) HWY_ATTR {
    DecodePass pass{.first_head = first, .heads = heads};
    if constexpr (kConvertsF16) {  // SSE4 is not worth the time to compile more than one form
      if (HalvesAsTheyAre::fits(args)) return attend_segment<HalvesAsTheyAre>(args, pass);
      if (BytesAsTheyAre::fits(args)) return attend_segment<BytesAsTheyAre>(args, pass);
    }
    attend_segment<Expanded>(args, pass);
  });
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
