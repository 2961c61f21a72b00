// A tile of rows on its way through decode: what its stages hand to one another. Keys and values
// have forms of their own, chosen by their types (decode_keys-inl.h, decode_values-inl.h). Compiled
// once per target.

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
#include "kernels/hwy/types-inl.h"
#include "kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// As many vectors of columns as keep the multiply-adds busy beside so many query heads.
template <std::size_t kHeads>
constexpr std::size_t kWide = std::min<std::size_t>(
    kHeads >= 4 || kManyRegisters ? 2 : (kHeads == 1 ? 8 : 4), kDecodeTile / kLanes);

// Few query heads leave their products so little time that a third of a later tile's lines has to
// be fetched while rows are made ready, and the rest beside the products; else all beside them.
// Counted for rows in f16 and a group that is one product: of larger groups the first part fetches
// all, smaller rows are there sooner, of larger ones the rest comes at the end.
constexpr std::size_t kFewHeads = 3;
constexpr std::size_t kLinesBesideTransposing = (kPanel + 5) / 6;  // 8 columns of kPanel keys
constexpr std::size_t kLinesBesideExpanding = 2;                   // a row's keys or values
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
  const std::byte* const* value_rows = nullptr;  // [rows] as they lie in the cache, or unpacked
  const std::byte* unpacked_values[kDecodeTile];
  const std::uint8_t* const* masks = nullptr;  // [rows], or null: all heads see all rows
};

// Of the query heads of one product and a tile's rows.
struct TileWeights {
  HWY_ALIGN float at[kMostHeads][kDecodeTile];
  float rescale[kMostHeads];  // what all that was added before has to be multiplied by
};

// Makes the tile's keys, or its values, ready for their products.
using MakeReady = void (*)(const DecodeAttentionArgs& args, const TileRows& rows, DecodeTile& tile,
                           DecodePass& pass);

// Of an element of a row of q8_0 in its row.
HWY_INLINE std::size_t q8_offset(std::size_t column) {
  return column / kQuantBlock * kQ8Bytes + kScaleBytes + column % kQuantBlock;
}

// Of rows of q8_0. Scales of rows that are not there are zeros.
HWY_INLINE void expand_scales(const std::byte* const* rows, std::size_t count, std::size_t blocks,
                              BlockScales& scales) {
  HWY_ALIGN std::uint16_t stored[kMaxHeadDim / kQuantBlock][kDecodeTile];
  if (count < kDecodeTile) std::memset(stored, 0, blocks * sizeof(stored[0]));
  // All are copied before the first is loaded: a vector that was just stored in parts has to wait.
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(stored[block] + i, rows[i] + block * kQ8Bytes, sizeof(stored[block][i]));
    }
  }
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t i = 0; i < kDecodeTile; i += kLanes) {
      hn::Store(load_f16(reinterpret_cast<const std::byte*>(stored[block] + i)), F32(),
                scales[block] + i);
    }
  }
}

// Rows of q4_0 as the rows of q8_0 that hold the same numbers, one after the other from `out` on.
HWY_INLINE void unpack_rows(const std::byte* const* rows, std::size_t count, std::size_t blocks,
                            std::byte* out, const std::byte** unpacked) {
  const hn::FixedTag<std::uint8_t, kQuantBlock / 2> d8;
  for (std::size_t i = 0; i < count; ++i) {
    unpacked[i] = out;
    const std::byte* from = rows[i];
    for (std::size_t block = 0; block < blocks; ++block, from += kQ4Bytes, out += kQ8Bytes) {
      const auto pairs = hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(from + kScaleBytes));
      auto* const quants = reinterpret_cast<std::uint8_t*>(out + kScaleBytes);
      std::memcpy(out, from, kScaleBytes);
      hn::StoreU(hn::Sub(hn::And(pairs, hn::Set(d8, 15)), hn::Set(d8, 8)), d8, quants);
      hn::StoreU(hn::Sub(hn::ShiftRight<4>(pairs), hn::Set(d8, 8)), d8, quants + kQuantBlock / 2);
    }
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
