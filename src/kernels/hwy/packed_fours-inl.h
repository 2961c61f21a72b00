// Products of many rows with packed weights (kernels/packed.h), bytes added in fours. Compiled as
// fours_vectors-inl.h says.
//
// Weights are unpacked once as signed bytes, in strips of as many panels as a vector holds side by
// side; sums of kRowsAtOnce rows times some strips stay in registers while the columns pass by,
// kSlab blocks at a time, so that what is unpacked comes from the first-level cache. Activations
// are unsigned (+ 128), and the sums begin at what takes the 128 out.

#if defined(RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <hwy/highway.h>

#include "kernels/hwy/fours_vectors-inl.h"
#include "kernels/hwy/packed_blocks-inl.h"
#include "kernels/hwy/packed_few_fours-inl.h"
#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES(RESTKV_FOURS_TARGET)
namespace restkv::HWY_NAMESPACE {
namespace {

inline constexpr std::size_t kRowsAtOnce = 4;
inline constexpr std::size_t kSlab = 8;  // blocks; of three strips of 512 bits 17 KiB

// Strips whose sums stay in registers together. Sums of 6 bits need two integers each.
constexpr std::size_t strips_at_once(PackedKind kind) {
  const std::size_t most = HWY_TARGET == HWY_AVX3 ? 3 : 2;
  return kind == PackedKind::kQ6K ? most - 1 : most;
}

struct StripOffsets {
  float offset[kStripRows];
};
struct StripInnerScales {
  std::int32_t inner[2][kStripRows];
};
template <int>
struct NoMember {};

// A block of the panels of a strip, with signed quants.
template <PackedKind kKind>
struct alignas(64) StripBlock
    : std::conditional_t<has_mins(kKind), StripOffsets, NoMember<0>>,
      std::conditional_t<kKind == PackedKind::kQ6K, StripInnerScales, NoMember<1>> {
  std::int8_t quants[kVectors][4 * kStripRows];
  std::int32_t minus_128[kStripRows];  // -128 * the sum of the (scaled) quants of each row
  float scale[kStripRows];
};

// Fills the part of one panel.
template <PackedKind kKind>
HWY_INLINE void fill_panel(const std::byte* p, const Outer& outer, std::size_t panel,
                           StripBlock<kKind>& strip) {
  const std::size_t row = panel * kPanelRows;
  const auto store = [](void* to, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(to), v); };
  Block block;
  unpack_for_fours<kKind>(p, outer, block);
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_of(kKind)));
  const __m256i all_128 = _mm256_set1_epi8(static_cast<char>(0x80));
  __m256i total = _mm256_setzero_si256();
  for (std::size_t h = 0; h < 2; ++h) {
    __m256i part = _mm256_setzero_si256();
    for (std::size_t i = h * kVectors / 2; i < (h + 1) * kVectors / 2; ++i) {
      const __m256i quants = _mm256_sub_epi8(block.quants[i], zero);
      store(strip.quants[i] + 4 * row, quants);
      part = add_fours(part, all_128, quants);
    }
    if constexpr (kKind == PackedKind::kQ6K) {
      store(strip.inner[h] + row, block.inner[h]);
      part = _mm256_mullo_epi32(part, block.inner[h]);
    }
    total = _mm256_sub_epi32(total, part);
  }
  store(strip.minus_128 + row, total);
  _mm256_store_ps(strip.scale + row, block.scale);
  if constexpr (has_mins(kKind)) _mm256_store_ps(strip.offset + row, block.offset);
}

// sums[row][strip] += the blocks [first, last) of some rows of a tile times kStrips strips; sums
// begin with block 0. blocks[b * kStrips + strip]. Rows beyond the tile's last stand for that one.
template <PackedKind kKind, std::size_t kStrips>
HWY_INLINE void multiply_slab(const StripBlock<kKind>* blocks, std::size_t first, std::size_t last,
                              const ActivationTile& tile, std::size_t first_row,
                              StripFloats (&result)[kRowsAtOnce][kStrips]) {
  std::size_t rows[kRowsAtOnce];
  for (std::size_t r = 0; r < kRowsAtOnce; ++r) rows[r] = std::min(first_row + r, tile.rows - 1);
  StripFloats sums[kRowsAtOnce][kStrips];
  for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
    for (std::size_t s = 0; s < kStrips; ++s) {
      sums[r][s] = first == 0 ? floats_of(0.0F) : result[r][s];
    }
  }
  for (std::size_t b = first; b < last; ++b) {
    const StripBlock<kKind>* const strips = blocks + b * kStrips;
    const auto add_products = [&](std::size_t i, StripInts(&to)[kRowsAtOnce][kStrips]) {
      StripInts weights[kStrips];
      for (std::size_t s = 0; s < kStrips; ++s) weights[s] = load_ints(strips[s].quants[i]);
      for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
        const StripInts x =
            strip_of(four_bytes(tile.quants + (b * tile.rows + rows[r]) * kPackedBlock + 4 * i));
        for (std::size_t s = 0; s < kStrips; ++s) to[r][s] = add_fours(to[r][s], x, weights[s]);
      }
    };
    StripInts integers[kRowsAtOnce][kStrips];
    for (auto& row : integers) {
      for (std::size_t s = 0; s < kStrips; ++s) row[s] = load_ints(strips[s].minus_128);
    }
    if constexpr (kKind == PackedKind::kQ6K) {
      for (std::size_t h = 0; h < 2; ++h) {
        StripInts part[kRowsAtOnce][kStrips];
        for (auto& row : part) {
          for (StripInts& sum : row) sum = strip_zeros();
        }
        for (std::size_t i = h * kVectors / 2; i < (h + 1) * kVectors / 2; ++i) {
          add_products(i, part);
        }
        for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
          for (std::size_t s = 0; s < kStrips; ++s) {
            integers[r][s] =
                add_ints(integers[r][s], multiply_ints(part[r][s], load_ints(strips[s].inner[h])));
          }
        }
      }
    } else {
      for (std::size_t i = 0; i < kVectors; ++i) add_products(i, integers);
    }
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
      const ActivationBlock& activation = tile.blocks[b * tile.rows + rows[r]];
      const StripFloats scale = floats_of(activation.scale);
      for (std::size_t s = 0; s < kStrips; ++s) {
        const StripFloats products = multiply_floats(to_floats(integers[r][s]), scale);
        sums[r][s] = multiply_add(products, load_floats(strips[s].scale), sums[r][s]);
        if constexpr (has_mins(kKind)) {
          sums[r][s] = multiply_add(floats_of(activation.scaled_sum), load_floats(strips[s].offset),
                                    sums[r][s]);
        }
      }
    }
  }
  for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
    for (std::size_t s = 0; s < kStrips; ++s) result[r][s] = sums[r][s];
  }
}

// Outputs [first, end) of one row, up to a strip's.
HWY_INLINE void store_strip(const PackedProductArgs& args, std::size_t first, std::size_t end,
                            std::size_t row, StripFloats sum) {
  const std::size_t n = std::min(end - first, kStripRows);
  if (args.bias != nullptr) sum = add_floats(sum, load_some(args.bias + first, n));
  store_some(sum, args.y + row * args.y_stride + first, n);
}

// Sums of a tile of activations times kStrips strips; those of four rows lie together.
template <std::size_t kStrips>
using TileSums = StripFloats[kMostTileRows / kRowsAtOnce][kRowsAtOnce][kStrips];

// How a slab of blocks is multiplied with a tile of activations; packed_tiles-inl.h has another
// way.
struct SlabInFours {
  HWY_INLINE void begin(const ActivationTile&, PackedKind) {}

  template <PackedKind kKind, std::size_t kStrips>
  HWY_INLINE void multiply(const StripBlock<kKind>* blocks, std::size_t first, std::size_t last,
                           const ActivationTile& tile, TileSums<kStrips>& sums) const {
    for (std::size_t r = 0; r < tile.rows; r += kRowsAtOnce) {
      multiply_slab<kKind, kStrips>(blocks, first, last, tile, r, sums[r / kRowsAtOnce]);
    }
  }
};

// All tiles times kStrips strips of panels from `panel` on; the last may lack a panel.
template <class Slab, PackedKind kKind, std::size_t kStrips>
void multiply_strips(const PackedProductArgs& args, std::size_t panel) {
  const std::size_t n_block = args.n_in / kPackedBlock;
  auto* const blocks = reinterpret_cast<StripBlock<kKind>*>(args.scratch);
  static_assert(kStrips * sizeof(StripBlock<kKind>) <= kPanelsTogether * kUnpackedBlockBytes);
  for (std::size_t i = 0; i < kStrips * kPanelsAbreast; ++i) {
    // A panel that is not there is taken from its neighbour, and its results are not stored.
    const std::size_t source = std::min(panel + i, args.last_panel - 1);
    for_each_block<kKind>(args, source, [&](std::size_t b, const std::byte* p, const Outer& outer) {
      fill_panel<kKind>(p, outer, i % kPanelsAbreast, blocks[b * kStrips + i / kPanelsAbreast]);
    });
  }
  Slab slab;
  std::size_t tile_row = 0;
  for (const ActivationTile& tile : args.tiles) {
    slab.begin(tile, kKind);
    fetch_results(args, panel, kStrips * kPanelsAbreast, tile_row, tile.rows);
    TileSums<kStrips> sums;
    for (std::size_t b = 0; b < n_block; b += kSlab) {
      slab.template multiply<kKind, kStrips>(blocks, b, std::min(n_block, b + kSlab), tile, sums);
    }
    const std::size_t end = std::min(args.n_out, args.last_panel * kPanelRows);
    for (std::size_t r = 0; r < tile.rows; ++r) {
      for (std::size_t s = 0; s < kStrips; ++s) {
        const std::size_t first = panel * kPanelRows + s * kStripRows;
        if (first < end) {
          store_strip(args, first, end, tile_row + r, sums[r / kRowsAtOnce][r % kRowsAtOnce][s]);
        }
      }
    }
    tile_row += tile.rows;
  }
}

template <class Slab, PackedKind kKind>
void many_in_strips(const PackedProductArgs& args) {
  constexpr std::size_t kMost = strips_at_once(kKind);
  std::size_t panel = args.first_panel;
  while (panel < args.last_panel) {
    const std::size_t strips = (args.last_panel - panel + kPanelsAbreast - 1) / kPanelsAbreast;
    // Of three at a time, 4 strips are 2 and 2: a single one waits for its products.
    std::size_t taken = 1;
    if (strips >= kMost && (kMost < 3 || strips != kMost + 1)) {
      multiply_strips<Slab, kKind, kMost>(args, panel);
      taken = kMost;
    } else if (kMost > 2 && strips >= 2) {
      multiply_strips<Slab, kKind, 2>(args, panel);
      taken = 2;
    } else {
      multiply_strips<Slab, kKind, 1>(args, panel);
    }
    panel += taken * kPanelsAbreast;
  }
}

struct InFours {
  template <PackedKind kKind, std::size_t kRows>
  static void few(const PackedProductArgs& args, const ActivationTile& tile) {
    few_in_fours<kKind, kRows>(args, tile);
  }
  template <PackedKind kKind>
  static void many(const PackedProductArgs& args) {
    many_in_strips<SlabInFours, kKind>(args);
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#endif

#endif
