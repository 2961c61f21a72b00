// The products of queries and keys in decode. Keys of f16, bf16 and q8_0 are transposed as they are
// and widened within the products, those of q4_0 after they were unpacked to q8_0; all others are
// expanded to f32 first, and all on SSE4. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_DECODE_KEYS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_KEYS_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_KEYS_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_KEYS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/hwy/decode_tiles-inl.h"
#include "kernels/hwy/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Calls Form::turn(rows, column, store) for every panel of the tile's keys and every 8 columns.
template <class Form>
HWY_INLINE void transpose_keys(const DecodeAttentionArgs& args, const std::byte* const* keys,
                               DecodeTile& tile, DecodePass& pass) {
  const hn::Repartition<std::uint16_t, F32> d16;
  for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
    std::uint16_t* const to = tile.short_keys + key;
    for (std::size_t column = 0; column < args.head_dim; column += 8) {
      Form::turn(keys + key, column, [d16, to](std::size_t at, auto elements) HWY_ATTR {
        hn::StoreU(elements, d16, to + at * kDecodeTile);
      });
      if (pass.heads <= kFewHeads) pass.prefetch.step<kLinesBesideTransposing>();
    }
  }
}

// Of every form: make_ready() the tile's keys. add_logits(): sums += queries * the keys from `key`
// on. beside() is called all through the products.

struct KeysOf16Bits {
  static bool fits(const DecodeAttentionArgs& args) { return args.head_dim % 8 == 0; }
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    transpose_keys<KeysOf16Bits>(args, rows.keys, tile, pass);
  }
  template <class Store>
  static HWY_INLINE void turn(const std::byte* const* keys, std::size_t column, Store store) {
    transpose_eight(keys, column, store);
  }
};

template <class Columns>  // HalfColumns or Bf16Columns
struct WidenedKeys : KeysOf16Bits {
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_logits(const DecodeTile& tile, std::size_t key, RowMajor queries,
                                    std::size_t n, Sums<kHeads, kVectors>& sums, Beside beside) {
    multiply(queries, Columns{tile.short_keys + key, kDecodeTile}, n, sums, beside);
  }
};

// q8_0: the sum of a block's products with its whole numbers, times the block's scale.
struct ByteKeys {
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    make_rows_ready(args, rows.keys, tile, pass);
  }
  static void make_rows_ready(const DecodeAttentionArgs& args, const std::byte* const* keys,
                              DecodeTile& tile, DecodePass& pass) {
    transpose_keys<ByteKeys>(args, keys, tile, pass);
    expand_scales(keys, kDecodeTile, args.head_dim / kQuantBlock, tile.key_scales);
  }
  template <class Store>
  static HWY_INLINE void turn(const std::byte* const* keys, std::size_t column, Store store) {
    transpose_eight_bytes(keys, q8_offset(column), column, store);
  }
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_logits(const DecodeTile& tile, std::size_t key, RowMajor queries,
                                    std::size_t n, Sums<kHeads, kVectors>& sums, Beside beside) {
    const F32 d;
    for (std::size_t column = 0; column < n; column += kQuantBlock) {
      auto part = zero_sums<kHeads, kVectors>();
      multiply(RowMajor{queries.data + column, queries.stride},
               ShortColumns{tile.short_keys + column * kDecodeTile + key, kDecodeTile}, kQuantBlock,
               part, beside);
      const float* const scales = tile.key_scales[column / kQuantBlock] + key;
      for (std::size_t h = 0; h < kHeads; ++h) {
        for (std::size_t v = 0; v < kVectors; ++v) {
          sums.at[h][v] =
              hn::MulAdd(part.at[h][v], hn::Load(d, scales + v * kLanes), sums.at[h][v]);
        }
      }
    }
  }
};

struct NibbleKeys : ByteKeys {  // q4_0
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    const std::byte* keys[kDecodeTile];
    std::copy(rows.keys + rows.count, rows.keys + kDecodeTile, keys + rows.count);  // of zeros
    unpack_rows(rows.keys, rows.count, args.head_dim / kQuantBlock,
                reinterpret_cast<std::byte*>(tile.keys), keys);
    make_rows_ready(args, keys, tile, pass);
  }
};

struct ExpandedKeys {
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    const std::size_t dim = tile.dim;
    float* const flat = tile.values;  // free until the values are made ready
    for (std::size_t i = 0; i < rows.count; ++i) {
      expand_row(args.type_k, rows.keys[i], args.head_dim, dim, flat + i * dim);
      if (pass.heads <= kFewHeads) pass.prefetch.step<kLinesBesideExpanding>();
    }
    std::fill(flat + rows.count * dim, flat + kDecodeTile * dim, 0.0F);
    transpose(flat, dim, kDecodeTile, tile.keys);
  }
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_logits(const DecodeTile& tile, std::size_t key, RowMajor queries,
                                    std::size_t n, Sums<kHeads, kVectors>& sums, Beside beside) {
    multiply(queries, FloatColumns{tile.keys + key, kDecodeTile}, n, sums, beside);
  }
};

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

// Rows that a head does not see get no weight. A head that sees none of the tile's rows keeps its
// sums: kHidden is far below where a maximum starts.
void hide_rows(const DecodeTile& tile, std::size_t head, float* logits) {
  for (std::size_t i = 0; i < tile.rows; ++i) {
    if (!sees_row(tile.masks[i], head)) logits[i] = kHidden;
  }
}

// Turns a tile's logits into weights, exp(logit - max), and adds them to the head's sums. Returns
// what everything added before has to be multiplied by.
HWY_INLINE float weigh(const float* logits, float* weights, float& max, float* lane_sums) {
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
  for (Vf& logit : row) logit = hn::Sub(logit, all(max));
  exp_each_at_most_88<kVectors>(row);
  Vf added = hn::Zero(d);  // those of the tile first: beside a large sum small ones would be lost
  for (std::size_t v = 0; v < kVectors; ++v) {
    hn::Store(row[v], d, weights + v * kLanes);
    added = hn::Add(added, row[v]);
  }
  hn::Store(hn::MulAdd(hn::Load(d, lane_sums), all(rescale), added), d, lane_sums);
  return rescale;
}

// Weights of query heads [head, head + kHeads) for the tile's rows; 0 behind the last one. The
// softmax knows no types; as a stage of its own, with a loop over the heads, it was slower.
template <class Form, std::size_t kHeads>
void weigh_rows(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t head,
                DecodePass& pass, TileWeights& weights) {
  HWY_ALIGN float logits[kHeads][kDecodeTile];
  compute_logits<Form, kHeads>(args, tile, head, pass.prefetch, logits);
  for (std::size_t h = 0; h < kHeads; ++h) {
    if (tile.masks != nullptr) hide_rows(tile, head + h, logits[h]);
    weights.rescale[h] = weigh(logits[h], weights.at[h], args.partial[head + h],
                               pass.lane_sums[head + h - pass.first_head]);
  }
}

// The stages of a tile that depend on the keys' type.
struct KeyStages {
  using Weigh = void (*)(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t head,
                         DecodePass& pass, TileWeights& weights);
  MakeReady make_ready;
  std::array<Weigh, kMostHeads> weigh;  // for 1 to kMostHeads query heads
};

template <class Form, std::size_t... kLess>
KeyStages key_stages_for(MakeReady make_ready, std::index_sequence<kLess...> /*heads*/) {
  return {.make_ready = make_ready, .weigh = {weigh_rows<Form, kLess + 1>...}};
}
// With the products of a form, and a make_ready() that may be another's.
template <class Form>
KeyStages key_stages_of(MakeReady make_ready = Form::make_ready) {
  return key_stages_for<Form>(make_ready, std::make_index_sequence<kMostHeads>());
}

KeyStages key_stages(const DecodeAttentionArgs& args) {
  if constexpr (kConvertsF16) {  // SSE4 is not worth the time to compile more than one form
    switch (args.type_k) {
      case KvType::kF16:
        if (KeysOf16Bits::fits(args)) return key_stages_of<WidenedKeys<HalfColumns>>();
        break;
      case KvType::kBf16:
        if (KeysOf16Bits::fits(args)) return key_stages_of<WidenedKeys<Bf16Columns>>();
        break;
      case KvType::kQ8_0: return key_stages_of<ByteKeys>();
      case KvType::kQ4_0: return key_stages_of<ByteKeys>(NibbleKeys::make_ready);
      case KvType::kF32: break;
    }
  }
  return key_stages_of<ExpandedKeys>();
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
