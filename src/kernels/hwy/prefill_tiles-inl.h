// Attention of prefill by Intel's tile unit (AMX), whose products are of bf16: every operand is
// split into numbers of 8 bits, the nearest bf16 and the nearest one of what is left, and several
// products take the place of one. Compiled for the target AVX3; run only where the system lets it
// (kernels/tile_unit.h).
//
// Which products: with three parts a query is exact, with two a key in f16 (11 bits) is. Of the six
// products q1 k1, q1 k2, q2 k1, q2 k2, q3 k1, q3 k2 only the last is as small as a rounding to f32
// and is left out. Three would do where products are no larger than logits (2e-5 off at the most).
// But keys with biases in the hundreds (Qwen2.5) make logits of 10 out of products of 500: with
// three they are up to 0.02 off, without one of q2 k2 and q3 k1 0.01, with five 2e-5, a third of
// what f32 itself loses. A key of more bits (f32) has a third part and a sixth product, q1 k3,
// without which it would be 0.01 again. Weights are at most 1 and their products do not cancel like
// that: two parts of each, w1 v1 + w1 v2 + w2 v1, lose up to 2^-17, mostly half of that.
//
// How it lies (bf16_tiles-inl.h): two parts take the place of the f32, so keys, values and weights
// are split where they lie. Keys are transposed before, as for the vectors.
//
// Eight registers: sums of 32 query rows by 32 keys (or channels of the output) are four of them,
// and two are left for each side. So a loaded tile serves two products or four, and the four that
// follow each other do not wait for one another. From product to product one side's part changes.
// Outputs stay in memory in f32, are rescaled there by vectors where a row's maximum grew, which is
// rare after the first tiles, and are what the unit's sums begin with: adding products to them
// afterwards would be a pass more over both. So a row that weighs less than 2^-24 of what the rows
// before it weigh together is lost, as it is not in the form by vectors: at the most 2^-24 of the
// output for each row.
//
// The unit is used for any number of rows, for a query's result must not depend on its block.

#if defined(RESTKV_KERNELS_HWY_PREFILL_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PREFILL_TILES_INL_H_
#undef RESTKV_KERNELS_HWY_PREFILL_TILES_INL_H_
#else
#define RESTKV_KERNELS_HWY_PREFILL_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "kernels/hwy/bf16_tiles-inl.h"
#include "kernels/hwy/prefill-inl.h"
#include "kernels/tile_unit.h"

#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kQueryParts = 3;
static_assert(kPanel == kUnitDepth && kKeyTile % kUnitDepth == 0 && kQueryPadding % kUnitRows == 0);

// Queries times product_scale(), as [padded_rows / 16][dim / 32][part] tiles.
void place_queries(const PrefillBlock& block) {
  const F32 d;
  const PrefillAttentionArgs& args = block.args;
  const float scale = product_scale(args.rule);
  HWY_ALIGN float scaled[round_up(kMaxHeadDim, kUnitDepth)] = {};
  for (std::size_t row = 0; row < block.padded_rows; ++row) {
    if (row < block.rows) {
      const float* const from =
          args.q + row / args.group * args.token_stride + row % args.group * args.head_dim;
      for (std::size_t i = 0; i < args.head_dim; ++i) scaled[i] = from[i] * scale;
    } else {
      std::fill_n(scaled, block.dim, 0.0F);
    }
    const std::size_t tile = row / kUnitRows * block.dim / kUnitDepth * kQueryParts;
    float* to = block.queries + tile * kUnitFloats + row % kUnitRows * kLanes;
    for (std::size_t i = 0; i < block.dim; i += kUnitDepth) {
      split_pair<kQueryParts>(hn::Load(d, scaled + i), hn::Load(d, scaled + i + kLanes),
                              [&](std::size_t /*part*/, Vf pairs) HWY_ATTR {
                                hn::Store(pairs, d, to);
                                to += kUnitFloats;
                              });
    }
  }
}

// Of each 32 weights of the rows: 16 pairs of first parts, 16 of second ones. `to` may be
// `weights`.
HWY_INLINE void split_weights(const LogitRow* weights, LogitRow* to) {
  const F32 d;
  for (std::size_t r = 0; r < kUnitRows; ++r) {
    for (std::size_t key = 0; key < kKeyTile; key += kUnitDepth) {
      const float* const from = weights[r] + key;
      split_pair<2>(hn::Load(d, from), hn::Load(d, from + kLanes),
                    [&](std::size_t part, Vf pairs)
                        HWY_ATTR { hn::Store(pairs, d, to[r] + key + part * kLanes); });
    }
  }
}

// Keys and values expanded to f32 as a FloatTile, then split.
template <std::size_t kParts>
struct SplitTile : FloatTile {
  static constexpr std::size_t kKeyParts = kParts;
  static float* third_parts(const PrefillBlock& block) { return block.keys + kKeyTile * block.dim; }
  static void transpose_keys(const PrefillBlock& block) {
    FloatTile::transpose_keys(block);
    constexpr std::size_t kPanels = kKeyTile / kPanel;
    split_rows<kParts>(block.keys, kPanels * block.dim, kPanel, third_parts(block));
  }
};

// Products of kTiles tiles of queries from `row` on and all keys of the tile.
template <class Tile, std::size_t kTiles>
HWY_INLINE void multiply_keys(const PrefillBlock& block, std::size_t row, LogitRow* logits) {
  const std::size_t steps = block.dim / kUnitDepth;
  constexpr std::size_t kPart = kUnitRows * kPanel;  // of the keys of a step
  const std::size_t query_tile = steps * kQueryParts * kUnitFloats;
  for (std::size_t panel = 0; panel < kKeyTile / kPanel; ++panel) {
    const float* queries = block.queries + row / kUnitRows * query_tile;
    const float* keys = block.keys + panel * steps * 2 * kPart;
    const float* third = Tile::third_parts(block) + panel * steps * kPart;
    const auto query = [&](std::size_t part) HWY_ATTR {
      load_left<kTiles>(queries + part * kUnitFloats, query_tile, kLanes);
    };
    zero_sums_of_tiles<kTiles>();
    for (std::size_t s = 0; s < steps; ++s) {
      query(2);
      load_right(keys, kPanel);
      add_products<kTiles>();
      query(1);
      add_products<kTiles>();
      load_right(keys + kPart, kPanel);
      add_products<kTiles>();
      query(0);
      add_products<kTiles>();
      if constexpr (Tile::kKeyParts == 3) {
        load_right(third, kPanel);
        add_products<kTiles>();
      }
      load_right(keys, kPanel);
      add_products<kTiles>();
      queries += kQueryParts * kUnitFloats;
      keys += 2 * kPart;
      third += kPart;
    }
    store_sums<kTiles>(logits[0] + panel * kPanel, kKeyTile);
  }
}

// outputs += weights * values, of kTiles tiles of query rows from `row` on. weights: split.
template <std::size_t kTiles>
HWY_INLINE void multiply_values(const PrefillBlock& block, std::size_t row,
                                const LogitRow* weights) {
  const std::size_t dim = block.dim;  // once: to the compiler any instruction of the unit writes
  constexpr std::size_t kNext = kUnitRows * kKeyTile;
  const float* values = block.values;
  float* outputs = block.outputs + row * dim;
  for (std::size_t column = 0; column < dim; column += 2 * kLanes) {
    load_sums<kTiles>(outputs, dim);
    for (std::size_t key = 0; key < kKeyTile; key += kUnitDepth) {
      load_left<kTiles>(weights[0] + key + kLanes, kNext, kKeyTile);
      load_right(values + key * dim, dim);
      add_products<kTiles>();
      load_left<kTiles>(weights[0] + key, kNext, kKeyTile);
      add_products<kTiles>();
      load_right(values + (key + kUnitRows) * dim, dim);
      add_products<kTiles>();
    }
    store_sums<kTiles>(outputs, dim);
    values += 2 * kLanes;
    outputs += 2 * kLanes;
  }
}

// A factor of 1 would change no bit.
HWY_INLINE void rescale_outputs(const PrefillBlock& block, std::size_t row,
                                const RowFloats& factors) {
  const F32 d;
  for (std::size_t r = 0; r < kUnitRows; ++r) {
    if (factors[r] == 1.0F) continue;
    float* const outputs = block.outputs + (row + r) * block.dim;
    for (std::size_t i = 0; i < block.dim; i += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, outputs + i), all(factors[r])), d, outputs + i);
    }
  }
}

// kTiles tiles of query rows over the packed and split tile of keys and values.
template <class Tile, std::size_t kTiles>
void attend_in_unit(const PrefillBlock& block, std::size_t row, std::size_t first, Sight sight) {
  HWY_ALIGN LogitRow own[kTiles * kUnitRows];
  const bool keeps = block.args.weights != nullptr;
  const KeptTile kept = keeps ? kept_tile(block, first) : KeptTile{};
  LogitRow* const weights = keeps ? reinterpret_cast<LogitRow*>(kept.weights) + row : own;
  multiply_keys<Tile, kTiles>(block, row, weights);
  for (std::size_t r = 0; r < kTiles * kUnitRows; r += kUnitRows) {
    HWY_ALIGN RowFloats rescale;
    cap_and_hide<kUnitRows>(block, row + r, first, sight, weights + r);
    add_to_softmax<kUnitRows>(block, row + r, weights + r, rescale);
    rescale_outputs(block, row + r, rescale);
    split_weights(weights + r, own + r);
  }
  if (keeps) std::copy_n(block.max + row, kTiles * kUnitRows, kept.max + row);
  multiply_values<kTiles>(block, row, own);
}

// column_sums takes other tiles of query rows, and may ask for rows beside those that see the keys.
void keep_nothing(const PrefillBlock& block, std::size_t row, std::size_t count,
                  std::size_t first) {
  const KeptTile kept = kept_tile(block, first);
  std::fill_n(kept.weights + row * kKeyTile, count * kKeyTile, 0.0F);
  std::copy_n(block.max + row, count, kept.max + row);
}

struct ByTileUnit {
  // Room for third parts of keys, whether the type has them or not.
  static PrefillBlock lay_out(const PrefillAttentionArgs& args) {
    return HWY_NAMESPACE::lay_out(
        args, {.rows = kUnitRows, .dim = kUnitDepth, .key_halves = 3, .query_halves = kQueryParts});
  }
  static void start(const PrefillBlock& block) {
    place_queries(block);
    start_softmax(block);
    configure_tiles(TileShapes());
  }
  static void finish() { release_tiles(); }
  // Of f32 (24 bits) and q8_0 (18) two parts may lose something.
  template <class Body>
  static void with_tile(const PrefillAttentionArgs& args, const Body& body) {
    const bool longer = args.keys.type == KvType::kF32 || args.keys.type == KvType::kQ8_0;
    longer ? body(SplitTile<3>()) : body(SplitTile<2>());
  }
  template <class Tile>
  static void attend_tile(const PrefillBlock& block, std::size_t first) {
    split_rows<2>(block.values, kKeyTile, block.dim, nullptr);
    for (std::size_t row = 0; row < block.padded_rows; row += 2 * kUnitRows) {
      const std::size_t count = std::min(2 * kUnitRows, block.padded_rows - row);
      const Sight sight = sight_of(block, row, count, first);
      if (sight == Sight::kNothing) {
        if (block.args.weights != nullptr) keep_nothing(block, row, count, first);
      } else if (count == kUnitRows) {
        attend_in_unit<Tile, 1>(block, row, first, sight);
      } else {
        attend_in_unit<Tile, 2>(block, row, first, sight);
      }
    }
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
