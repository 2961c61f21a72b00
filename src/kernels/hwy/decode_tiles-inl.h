// A tile of rows made ready for the products of decode, in one of three forms: where keys and
// values both are f16, or both q8_0, they are widened within the products, keys after they were
// transposed; all else is expanded to f32 first, and all on SSE4. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_DECODE_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_TILES_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_TILES_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/hwy/decode_rows-inl.h"
#include "kernels/hwy/tiles-inl.h"
#include "kernels/hwy/transpose-inl.h"
#include "kernels/hwy/types-inl.h"
#include "kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Few query heads leave their products so little time that a third of a later tile's lines has to
// be fetched while rows are made ready, and the rest beside the products; else all beside them.
// Counted for rows in f16 and a group that is one product: of larger groups the first part fetches
// all, smaller rows are there sooner, of larger ones the rest comes at the end.
constexpr std::size_t kFewHeads = 3;
constexpr std::size_t kLinesBesideTransposing = (kPanel + 5) / 6;  // 8 columns of kPanel keys
constexpr std::size_t kLinesBesideExpanding = 2;                   // a row's values
template <std::size_t kHeads, std::size_t kVectors>
constexpr std::size_t kLinesBeside =  // each part of the products of so many vectors
    std::max<std::size_t>(kVectors * kLanes * kBesideStep / (kHeads <= kFewHeads ? 48 : 32), 1);

// What one pass over the rows of the segment keeps, for some of the query heads.
constexpr std::size_t kHeadsAtOnce = 4 * kMostHeads;
struct DecodePass {
  std::size_t first_head;
  std::size_t heads;  // kHeadsAtOnce at the most
  Prefetch prefetch = {};
  HWY_ALIGN float lane_sums[kHeadsAtOnce][kLanes] = {};  // of weights; added up at the end
};

// Scales of quantised rows, of each block of a row.
using BlockScales = float[kMaxHeadDim / kQuantBlock][kDecodeTile];

struct DecodeTile {
  HWY_ALIGN float keys[kDecodeTile * kMaxHeadDim];                // [dim][kDecodeTile]
  HWY_ALIGN float values[kDecodeTile * kMaxHeadDim];              // [kDecodeTile][dim]
  HWY_ALIGN std::uint16_t short_keys[kDecodeTile * kMaxHeadDim];  // [dim][kDecodeTile]
  HWY_ALIGN BlockScales key_scales;
  HWY_ALIGN BlockScales value_scales;
  std::size_t dim = 0;    // head_dim in whole cache lines
  std::size_t first = 0;  // rows before this tile
  std::size_t rows = 0;
  const std::byte* const* value_rows = nullptr;  // [rows] as they lie in the cache
  const std::uint8_t* const* masks = nullptr;    // [rows], or null: all heads see all rows
};

// Calls turn(rows, column, store) for every panel of the tile's keys and every 8 columns.
template <class Turn>
HWY_INLINE void transpose_keys(const DecodeAttentionArgs& args, const TileRows& rows,
                               DecodeTile& tile, DecodePass& pass, Turn turn) {
  const hn::Repartition<std::uint16_t, F32> d16;
  for (std::size_t key = 0; key < kDecodeTile; key += kPanel) {
    std::uint16_t* const to = tile.short_keys + key;
    for (std::size_t column = 0; column < args.head_dim; column += 8) {
      turn(rows.keys + key, column, [d16, to](std::size_t at, auto elements) HWY_ATTR {
        hn::StoreU(elements, d16, to + at * kDecodeTile);
      });
      if (pass.heads <= kFewHeads) pass.prefetch.step<kLinesBesideTransposing>();
    }
  }
}

// Of every form: make_ready() a tile. add_logits(): sums += queries * the keys from `key` on.
// add_values(): sums += weights [heads][kDecodeTile] * the values' columns from `column` on.
// beside() is called all through the products.

// The products of a form that gives the right sides as keys(tile, key) and values(tile, column).
template <class Form>
struct PlainProducts {
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_logits(const DecodeTile& tile, std::size_t key, RowMajor queries,
                                    std::size_t n, Sums<kHeads, kVectors>& sums, Beside beside) {
    multiply(queries, Form::keys(tile, key), n, sums, beside);
  }
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_values(const DecodeTile& tile, std::size_t column,
                                    const float* weights, Sums<kHeads, kVectors>& sums,
                                    Beside beside) {
    multiply(RowMajor{weights, kDecodeTile}, Form::values(tile, column), tile.rows, sums, beside);
  }
};

struct HalvesAsTheyAre : PlainProducts<HalvesAsTheyAre> {  // f16
  static bool fits(const DecodeAttentionArgs& args) {
    return args.type_k == KvType::kF16 && args.type_v == KvType::kF16 &&
           args.head_dim % kPanel == 0;
  }
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    transpose_keys(args, rows, tile, pass,
                   [](const std::byte* const* keys, std::size_t column, auto store)
                       HWY_ATTR { transpose_eight(keys, column, store); });
  }
  static HalfColumns keys(const DecodeTile& tile, std::size_t key) {
    return {tile.short_keys + key, kDecodeTile};
  }
  static HalfRows values(const DecodeTile& tile, std::size_t column) {
    return {tile.value_rows, column};
  }
};

// Keys: the sum of a block's products with its whole numbers, times the block's scale. Values:
// weights times the scale, then their products with the whole numbers.
struct BytesAsTheyAre {  // q8_0
  static bool fits(const DecodeAttentionArgs& args) {
    return args.type_k == KvType::kQ8_0 && args.type_v == KvType::kQ8_0;
  }
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    transpose_keys(args, rows, tile, pass,
                   [](const std::byte* const* keys, std::size_t column, auto store)
                       HWY_ATTR { transpose_eight_bytes(keys, offset_of(column), column, store); });
    const std::size_t blocks = args.head_dim / kQuantBlock;
    expand_scales(rows.keys, kDecodeTile, blocks, tile.key_scales);
    expand_scales(rows.values, rows.count, blocks, tile.value_scales);
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
  // The columns of one product never reach beyond a block.
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_values(const DecodeTile& tile, std::size_t column,
                                    const float* weights, Sums<kHeads, kVectors>& sums,
                                    Beside beside) {
    static_assert(kQuantBlock % (kVectors * kLanes) == 0);
    const F32 d;
    const float* const scales = tile.value_scales[column / kQuantBlock];
    HWY_ALIGN float scaled[kHeads][kDecodeTile];
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t i = 0; i < kDecodeTile; i += kLanes) {
        const Vf weight = hn::Load(d, weights + h * kDecodeTile + i);
        const Vf product = hn::Mul(weight, hn::Load(d, scales + i));
        // Products so small that they are not normal numbers would be slow, and count for nothing.
        hn::Store(hn::IfThenElseZero(hn::Gt(weight, all(1e-30F)), product), d, scaled[h] + i);
      }
    }
    multiply(RowMajor{scaled[0], kDecodeTile}, ByteRows{tile.value_rows, offset_of(column)},
             tile.rows, sums, beside);
  }

 private:
  // Of an element in its row.
  static std::size_t offset_of(std::size_t column) {
    return column / kQuantBlock * kQ8Bytes + kScaleBytes + column % kQuantBlock;
  }

  // Scales of rows that are not there are zeros.
  static void expand_scales(const std::byte* const* rows, std::size_t count, std::size_t blocks,
                            BlockScales& scales) {
    HWY_ALIGN std::uint16_t stored[kDecodeTile] = {};
    for (std::size_t block = 0; block < blocks; ++block) {
      for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(stored + i, rows[i] + block * kQ8Bytes, sizeof(stored[i]));
      }
      for (std::size_t i = 0; i < kDecodeTile; i += kLanes) {
        hn::Store(load_f16(reinterpret_cast<const std::byte*>(stored + i)), F32(),
                  scales[block] + i);
      }
    }
  }
};

struct Expanded : PlainProducts<Expanded> {
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    const std::size_t dim = tile.dim;
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
      if (pass.heads <= kFewHeads) pass.prefetch.step<kLinesBesideExpanding>();
    }
  }
  static FloatColumns keys(const DecodeTile& tile, std::size_t key) {
    return {tile.keys + key, kDecodeTile};
  }
  static FloatColumns values(const DecodeTile& tile, std::size_t column) {
    return {tile.values + column, tile.dim};
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
