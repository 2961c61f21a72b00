// Products of many rows with packed weights (kernels/packed.h) by Intel's tile unit (AMX): a
// strip's quants are a tile of weights as they lie, and so are a block's activations. Compiled for
// the target AVX3 as fours_vectors-inl.h says, and run only where the system lets it
// (kernels/tile_unit.h).
//
// The integers are exact, and the f32 sums are added as everywhere: the same bits.

#if defined(RESTKV_KERNELS_HWY_PACKED_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_TILES_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_TILES_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "kernels/hwy/packed_fours-inl.h"
#include "kernels/packed.h"
#include "kernels/tile_unit.h"

#if HWY_TARGET == HWY_AVX3
HWY_PUSH_ATTRIBUTES(RESTKV_FOURS_TARGET)
namespace restkv::HWY_NAMESPACE {
namespace {

// The unit takes as long for fewer rows: those are multiplied in fours.
inline constexpr std::size_t kFewestTileRows = 9;

// Integers of a tile of activations times a strip, [row][weights' row].
struct alignas(64) TileIntegers {
  std::int32_t sums[kMostTileRows][kStripRows];
};

class SlabInTiles {
 public:
  SlabInTiles() = default;
  SlabInTiles(const SlabInTiles&) = delete;
  SlabInTiles& operator=(const SlabInTiles&) = delete;
  HWY_INLINE ~SlabInTiles() {
    if (rows_ != 0) release_tiles();
  }

  HWY_INLINE void begin(const ActivationTile& tile, PackedKind kind) {
    if (tile.rows == rows_ || tile.rows < kFewestTileRows) return;
    rows_ = tile.rows;
    // Registers 0 and 1 are sums, 4 and 5 activations, 6 and 7 weights. 6 bits have a scale for
    // each half of a block, so halves are multiplied.
    const std::size_t columns = kind == PackedKind::kQ6K ? kPackedBlock / 2 : kPackedBlock;
    TileShapes shapes;
    for (std::size_t i = 0; i < 6; ++i) shapes.rows[i] = static_cast<std::uint8_t>(rows_);
    for (std::size_t i = 4; i < 6; ++i) {
      shapes.row_bytes[i] = static_cast<std::uint16_t>(columns);
      shapes.rows[i + 2] = static_cast<std::uint8_t>(columns / 4);
    }
    configure_tiles(shapes);
  }

  template <PackedKind kKind, std::size_t kStrips>
  HWY_INLINE void multiply(const StripBlock<kKind>* blocks, std::size_t first, std::size_t last,
                           const ActivationTile& tile, TileSums<kStrips>& sums) const {
    if (tile.rows < kFewestTileRows) {
      return SlabInFours().multiply<kKind, kStrips>(blocks, first, last, tile, sums);
    }
    for (std::size_t s = 0; s < kStrips; ++s) {
      StripFloats strip_sums[kMostTileRows];
      for (std::size_t r = 0; r < kMostTileRows; ++r) {
        strip_sums[r] = first == 0 ? floats_of(0.0F) : sums[r / kRowsAtOnce][r % kRowsAtOnce][s];
      }
      // Two blocks at a time: one is in the unit while the other is scaled.
      for (std::size_t b = first; b < last; b += 2) {
        const bool both = b + 1 < last;
        const StripBlock<kKind>* const strips = blocks + b * kStrips + s;
        const std::int8_t* const quants = tile.quants + b * tile.rows * kPackedBlock;
        start_block<0>(strips[0], quants);
        if (both) start_block<1>(strips[kStrips], quants + tile.rows * kPackedBlock);
        const ActivationBlock* const activations = tile.blocks + b * tile.rows;
        add_scaled_rows(strips[0], 0, activations, tile.rows, strip_sums);
        if (both) {
          add_scaled_rows(strips[kStrips], 1, activations + tile.rows, tile.rows, strip_sums);
        }
      }
      for (std::size_t r = 0; r < kMostTileRows; ++r) {
        sums[r / kRowsAtOnce][r % kRowsAtOnce][s] = strip_sums[r];
      }
    }
  }

 private:
  // Integers of a block into integers_[kTurn].
  template <int kTurn, PackedKind kKind>
  HWY_INLINE void start_block(const StripBlock<kKind>& strip, const std::int8_t* quants) const {
    constexpr int kSums = kTurn;
    constexpr int kActivations = 4 + kTurn;
    constexpr int kWeights = 6 + kTurn;
    const auto multiply = [&](std::size_t half) {
      load_tile<kActivations>(quants + half * kPackedBlock / 2, kPackedBlock);
      load_tile<kWeights>(strip.quants[half * kVectors / 2], sizeof(strip.quants[0]));
      add_byte_products<kSums, kActivations, kWeights>();
      store_tile<kSums>(integers_[kTurn][half].sums, sizeof(integers_[kTurn][half].sums[0]));
    };
    if constexpr (kKind == PackedKind::kQ6K) {
      for (const std::size_t half : {0U, 1U}) {
        zero_tile<kSums>();
        multiply(half);
      }
    } else {
      // Sums begin at what takes the 128 out of the activations, the same for every row: stride 0.
      load_tile<kSums>(strip.minus_128, 0);
      multiply(0);
    }
  }

  // Rows that the tile does not have add what is never stored.
  template <PackedKind kKind>
  HWY_INLINE void add_scaled_rows(const StripBlock<kKind>& strip, std::size_t turn,
                                  const ActivationBlock* activations, std::size_t rows,
                                  StripFloats (&sums)[kMostTileRows]) const {
    const StripFloats scale = load_floats(strip.scale);
    for (std::size_t r = 0; r < kMostTileRows; ++r) {
      const ActivationBlock& activation = activations[std::min(r, rows - 1)];
      StripInts integers = load_ints(integers_[turn][0].sums[r]);
      if constexpr (kKind == PackedKind::kQ6K) {
        integers = multiply_ints(integers, load_ints(strip.inner[0]));
        integers = add_ints(integers, multiply_ints(load_ints(integers_[turn][1].sums[r]),
                                                    load_ints(strip.inner[1])));
        integers = add_ints(integers, load_ints(strip.minus_128));
      }
      const StripFloats products =
          multiply_floats(to_floats(integers), floats_of(activation.scale));
      sums[r] = multiply_add(products, scale, sums[r]);
      if constexpr (has_mins(kKind)) {
        sums[r] =
            multiply_add(floats_of(activation.scaled_sum), load_floats(strip.offset), sums[r]);
      }
    }
  }

  std::size_t rows_ = 0;  // of the shapes that the unit has; 0: none
  // Written by the unit, which no compiler sees. Of two blocks, each in one part or two.
  mutable TileIntegers integers_[2][2] = {};
};

struct InTiles {
  template <PackedKind kKind, std::size_t kRows>
  static void few(const PackedProductArgs& args, const ActivationTile& tile) {
    few_in_fours<kKind, kRows>(args, tile);
  }
  template <PackedKind kKind>
  static void many(const PackedProductArgs& args) {
    many_in_strips<SlabInTiles, kKind>(args);
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#endif

#endif
