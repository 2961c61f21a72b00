// The products of weights and values in decode. Values of f16, bf16 and q8_0 are widened within the
// products, where the cache holds them, those of q4_0 after they were unpacked to q8_0; all others
// are expanded to f32 first, and all on SSE4. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_DECODE_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_VALUES_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_VALUES_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_VALUES_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "kernels/hwy/decode_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Of every form: head_dim is a multiple of kColumns. make_ready() the tile's values. add_values():
// sums += weights [heads][kDecodeTile] * the values' columns from `column` on. beside() is called
// all through the products.

struct ValuesOf16Bits {
  static constexpr std::size_t kColumns = kLanes;
  static bool fits(const DecodeAttentionArgs& args) { return args.head_dim % kColumns == 0; }
  static void make_ready(const DecodeAttentionArgs& /*args*/, const TileRows& rows,
                         DecodeTile& tile, DecodePass& /*pass*/) {
    tile.value_rows = rows.values;
  }
};

template <class Rows>  // HalfRows or Bf16Rows
struct WidenedValues : ValuesOf16Bits {
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_values(const DecodeTile& tile, std::size_t column,
                                    const float* weights, Sums<kHeads, kVectors>& sums,
                                    Beside beside) {
    multiply(RowMajor{weights, kDecodeTile}, Rows{tile.value_rows, column}, tile.rows, sums,
             beside);
  }
};

// q8_0: weights times the scale, then their products with the whole numbers.
struct ByteValues {
  static constexpr std::size_t kColumns = kQuantBlock;
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& /*pass*/) {
    make_rows_ready(args, rows.values, tile);
  }
  static void make_rows_ready(const DecodeAttentionArgs& args, const std::byte* const* values,
                              DecodeTile& tile) {
    tile.value_rows = values;
    expand_scales(values, tile.rows, args.head_dim / kQuantBlock, tile.value_scales);
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
    multiply(RowMajor{scaled[0], kDecodeTile}, ByteRows{tile.value_rows, q8_offset(column)},
             tile.rows, sums, beside);
  }
};

struct NibbleValues : ByteValues {  // q4_0
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& /*pass*/) {
    unpack_rows(rows.values, rows.count, args.head_dim / kQuantBlock,
                reinterpret_cast<std::byte*>(tile.values), tile.unpacked_values);
    make_rows_ready(args, tile.unpacked_values, tile);
  }
};

struct ExpandedValues {
  static constexpr std::size_t kColumns = 1;
  static void make_ready(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                         DecodePass& pass) {
    for (std::size_t i = 0; i < rows.count; ++i) {
      expand_row(args.type_v, rows.values[i], args.head_dim, tile.dim, tile.values + i * tile.dim);
      if (pass.heads <= kFewHeads) pass.prefetch.step<kLinesBesideExpanding>();
    }
  }
  template <std::size_t kHeads, std::size_t kVectors, class Beside>
  static HWY_INLINE void add_values(const DecodeTile& tile, std::size_t column,
                                    const float* weights, Sums<kHeads, kVectors>& sums,
                                    Beside beside) {
    multiply(RowMajor{weights, kDecodeTile}, FloatColumns{tile.values + column, tile.dim},
             tile.rows, sums, beside);
  }
};

// acc = acc * rescale + weights * values for kVectors vectors of columns; the tile's products are
// added up first, so that many small weights are not lost one by one beside a large one.
template <class Form, std::size_t kHeads, std::size_t kVectors>
HWY_INLINE void add_columns_of_values(const DecodeTile& tile, std::size_t column,
                                      const float* weights, const float* rescale, float* acc,
                                      std::size_t acc_stride, Prefetch& prefetch) {
  const F32 d;
  auto sums = zero_sums<kHeads, kVectors>();
  Form::add_values(tile, column, weights, sums,
                   [&prefetch]() HWY_ATTR { prefetch.step<kLinesBeside<kHeads, kVectors>>(); });
  for (std::size_t h = 0; h < kHeads; ++h) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      float* const to = acc + h * acc_stride + v * kLanes;
      hn::StoreU(hn::MulAdd(hn::LoadU(d, to), all(rescale[h]), sums.at[h][v]), d, to);
    }
  }
}

// Adds the tile's values to the partials of query heads [head, head + kHeads).
template <class Form, std::size_t kHeads>
void accumulate(const DecodeAttentionArgs& args, const DecodeTile& tile, std::size_t head,
                const TileWeights& weights, Prefetch& prefetch) {
  const std::size_t n = args.head_dim;
  float* const acc = args.partial + 2 * args.group + head * n;
  const float* const first = weights.at[0];
  float rescale[kHeads];  // a copy that the compiler can keep in registers
  std::copy_n(weights.rescale, kHeads, rescale);
  constexpr std::size_t kVectors = kWide<kHeads>;
  std::size_t column = 0;
  for (; column + kVectors * kLanes <= n; column += kVectors * kLanes) {
    add_columns_of_values<Form, kHeads, kVectors>(tile, column, first, rescale, acc + column, n,
                                                  prefetch);
  }
  if constexpr (Form::kColumns % (kVectors * kLanes) != 0) {
    for (; column + kLanes <= n; column += kLanes) {
      add_columns_of_values<Form, kHeads, 1>(tile, column, first, rescale, acc + column, n,
                                             prefetch);
    }
  }
  if constexpr (Form::kColumns % kLanes != 0) {
    for (; column < n; ++column) {
      for (std::size_t h = 0; h < kHeads; ++h) {
        float value = 0.0F;
        for (std::size_t i = 0; i < tile.rows; ++i) {
          value += weights.at[h][i] * tile.values[i * tile.dim + column];
        }
        acc[h * n + column] = acc[h * n + column] * rescale[h] + value;
      }
    }
  }
}

// The stages of a tile that depend on the values' type.
struct ValueStages {
  using Accumulate = void (*)(const DecodeAttentionArgs& args, const DecodeTile& tile,
                              std::size_t head, const TileWeights& weights, Prefetch& prefetch);
  MakeReady make_ready;
  std::array<Accumulate, kMostHeads> accumulate;  // for 1 to kMostHeads query heads
};

template <class Form, std::size_t... kLess>
ValueStages value_stages_for(MakeReady make_ready, std::index_sequence<kLess...> /*heads*/) {
  return {.make_ready = make_ready, .accumulate = {accumulate<Form, kLess + 1>...}};
}
// As key_stages_of().
template <class Form>
ValueStages value_stages_of(MakeReady make_ready = Form::make_ready) {
  return value_stages_for<Form>(make_ready, std::make_index_sequence<kMostHeads>());
}

ValueStages value_stages(const DecodeAttentionArgs& args) {
  if constexpr (kConvertsF16) {  // as key_stages()
    switch (args.type_v) {
      case KvType::kF16:
        if (ValuesOf16Bits::fits(args)) return value_stages_of<WidenedValues<HalfRows>>();
        break;
      case KvType::kBf16:
        if (ValuesOf16Bits::fits(args)) return value_stages_of<WidenedValues<Bf16Rows>>();
        break;
      case KvType::kQ8_0: return value_stages_of<ByteValues>();
      case KvType::kQ4_0: return value_stages_of<ByteValues>(NibbleValues::make_ready);
      case KvType::kF32: break;
    }
  }
  return value_stages_of<ExpandedValues>();
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
