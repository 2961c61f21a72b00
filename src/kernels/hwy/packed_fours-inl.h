// Products of many rows with packed weights (kernels/packed.h), bytes added in fours (vpdpbusd of
// AVX-512 VNNI). Compiled as packed_few_fours-inl.h.
//
// Weights are unpacked once as signed bytes, two panels side by side in 512 bits; sums of
// kRowsAtOnce rows times some pairs of panels stay in registers while the columns pass by, kSlab
// blocks at a time, so that what is unpacked comes from the first-level cache. Activations are
// unsigned (+ 128), and the sums begin at what takes the 128 out.

#if defined(RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_FOURS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/highway.h>

#include "kernels/hwy/packed_blocks-inl.h"
#include "kernels/hwy/packed_few_fours-inl.h"
#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR_AVX3 ",avx512vnni")
namespace restkv::HWY_NAMESPACE {
namespace {

// As unpack_block(), but for bytes that stay whole and inner scales of 32 bits.
template <PackedKind kKind>
HWY_INLINE void unpack_for_fours(const std::byte* p, const Outer& outer, Block& block) {
  if constexpr (kKind == PackedKind::kQ8_0) {
    for (std::size_t i = 0; i < kVectors; ++i) block.quants[i] = load(p + 32 * i);
    block.scale = scale_of<kKind>(p + packed_layout(kKind).quant_bytes, outer);
    block.minus_zero = _mm256_set1_epi16(-zero_of(kKind));
  } else {
    unpack_block<kKind>(p, outer, block);
    if constexpr (kKind == PackedKind::kQ6K) {
      for (std::size_t h = 0; h < 2; ++h) {
        block.inner[h] = load_8_s8(p + packed_layout(kKind).quant_bytes + h * kPanelRows);
      }
    }
  }
}

inline constexpr std::size_t kPairRows = 2 * kPanelRows;
inline constexpr std::size_t kRowsAtOnce = 4;
inline constexpr std::size_t kSlab = 8;  // blocks; of three pairs 17 KiB
// Sums of 6 bits need two integers each.
constexpr std::size_t pairs_at_once(PackedKind kind) { return kind == PackedKind::kQ6K ? 2 : 3; }

struct PairOffsets {
  float offset[kPairRows];
};
struct PairInnerScales {
  std::int32_t inner[2][kPairRows];
};
template <int>
struct NoMember {};

// The same block of two neighbouring panels, with signed quants.
template <PackedKind kKind>
struct alignas(64) PairBlock
    : std::conditional_t<has_mins(kKind), PairOffsets, NoMember<0>>,
      std::conditional_t<kKind == PackedKind::kQ6K, PairInnerScales, NoMember<1>> {
  std::int8_t quants[kVectors][64];
  std::int32_t minus_128[kPairRows];  // -128 * the sum of the (scaled) quants of each row
  float scale[kPairRows];
};

// Fills one half of a pair.
template <PackedKind kKind>
HWY_INLINE void fill_half(const std::byte* p, const Outer& outer, std::size_t half,
                          PairBlock<kKind>& pair) {
  const std::size_t row = half * kPanelRows;
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
      store(pair.quants[i] + half * 32, quants);
      part = _mm256_dpbusd_epi32(part, all_128, quants);
    }
    if constexpr (kKind == PackedKind::kQ6K) {
      store(pair.inner[h] + row, block.inner[h]);
      part = _mm256_mullo_epi32(part, block.inner[h]);
    }
    total = _mm256_sub_epi32(total, part);
  }
  store(pair.minus_128 + row, total);
  _mm256_store_ps(pair.scale + row, block.scale);
  if constexpr (has_mins(kKind)) _mm256_store_ps(pair.offset + row, block.offset);
}

HWY_INLINE __m512i load_64(const void* p) { return _mm512_load_si512(p); }

// sums[row][pair] += the blocks [first, last) of some rows of a tile times kPairs pairs.
// blocks[b * stride + pair]. Rows beyond the tile's last stand for that one.
template <PackedKind kKind, std::size_t kPairs>
HWY_INLINE void multiply_slab(const PairBlock<kKind>* blocks, std::size_t first, std::size_t last,
                              const ActivationTile& tile, std::size_t first_row,
                              __m512 (&sums)[kRowsAtOnce][kPairs]) {
  std::size_t rows[kRowsAtOnce];
  for (std::size_t r = 0; r < kRowsAtOnce; ++r) rows[r] = std::min(first_row + r, tile.rows - 1);
  for (std::size_t b = first; b < last; ++b) {
    const PairBlock<kKind>* const pairs = blocks + b * kPairs;
    const auto add_products = [&](std::size_t i, __m512i(&to)[kRowsAtOnce][kPairs]) {
      __m512i weights[kPairs];
      for (std::size_t p = 0; p < kPairs; ++p) weights[p] = load_64(pairs[p].quants[i]);
      for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
        std::int32_t four;
        std::memcpy(&four, tile.quants + (b * tile.rows + rows[r]) * kPackedBlock + 4 * i,
                    sizeof(four));
        const __m512i x = _mm512_set1_epi32(four);
        for (std::size_t p = 0; p < kPairs; ++p) {
          to[r][p] = _mm512_dpbusd_epi32(to[r][p], x, weights[p]);
        }
      }
    };
    __m512i integers[kRowsAtOnce][kPairs];
    for (auto& row : integers) {
      for (std::size_t p = 0; p < kPairs; ++p) row[p] = load_64(pairs[p].minus_128);
    }
    if constexpr (kKind == PackedKind::kQ6K) {
      for (std::size_t h = 0; h < 2; ++h) {
        __m512i part[kRowsAtOnce][kPairs];
        for (auto& row : part) {
          for (__m512i& sum : row) sum = _mm512_setzero_si512();
        }
        for (std::size_t i = h * kVectors / 2; i < (h + 1) * kVectors / 2; ++i) {
          add_products(i, part);
        }
        for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
          for (std::size_t p = 0; p < kPairs; ++p) {
            integers[r][p] = _mm512_add_epi32(
                integers[r][p], _mm512_mullo_epi32(part[r][p], load_64(pairs[p].inner[h])));
          }
        }
      }
    } else {
      for (std::size_t i = 0; i < kVectors; ++i) add_products(i, integers);
    }
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
      const ActivationBlock& activation = tile.blocks[b * tile.rows + rows[r]];
      const __m512 scale = _mm512_set1_ps(activation.scale);
      for (std::size_t p = 0; p < kPairs; ++p) {
        const __m512 products = _mm512_mul_ps(_mm512_cvtepi32_ps(integers[r][p]), scale);
        sums[r][p] = _mm512_fmadd_ps(products, _mm512_load_ps(pairs[p].scale), sums[r][p]);
        if constexpr (has_mins(kKind)) {
          sums[r][p] = _mm512_fmadd_ps(_mm512_set1_ps(activation.scaled_sum),
                                       _mm512_load_ps(pairs[p].offset), sums[r][p]);
        }
      }
    }
  }
}

// Outputs [first, end) of one row, up to a pair's.
HWY_INLINE void store_pair(const PackedProductArgs& args, std::size_t first, std::size_t end,
                           std::size_t row, __m512 sum) {
  const std::size_t n = std::min(end - first, kPairRows);
  const auto mask = static_cast<__mmask16>((1U << n) - 1);
  if (args.bias != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, args.bias + first));
  }
  _mm512_mask_storeu_ps(args.y + row * args.y_stride + first, mask, sum);
}

// All tiles times kPairs pairs of panels from `panel` on; the last may lack its second one.
template <PackedKind kKind, std::size_t kPairs>
void multiply_pairs(const PackedProductArgs& args, std::size_t panel) {
  const std::size_t n_block = args.n_in / kPackedBlock;
  auto* const blocks = reinterpret_cast<PairBlock<kKind>*>(args.scratch);
  static_assert(kPairs * sizeof(PairBlock<kKind>) <= kPanelsTogether * kUnpackedBlockBytes);
  for (std::size_t half = 0; half < 2 * kPairs; ++half) {
    // A panel that is not there is taken from its neighbour, and its results are not stored.
    const std::size_t source = std::min(panel + half, args.last_panel - 1);
    for_each_block<kKind>(args, source, [&](std::size_t b, const std::byte* p, const Outer& outer) {
      fill_half<kKind>(p, outer, half % 2, blocks[b * kPairs + half / 2]);
    });
  }
  std::size_t tile_row = 0;
  for (const ActivationTile& tile : args.tiles) {
    __m512 sums[kMostTileRows / kRowsAtOnce][kRowsAtOnce][kPairs];
    for (auto& group : sums) {
      for (auto& row : group) {
        for (__m512& sum : row) sum = _mm512_setzero_ps();
      }
    }
    for (std::size_t b = 0; b < n_block; b += kSlab) {
      for (std::size_t r = 0; r < tile.rows; r += kRowsAtOnce) {
        __m512(&to)[kRowsAtOnce][kPairs] = sums[r / kRowsAtOnce];
        multiply_slab<kKind, kPairs>(blocks, b, std::min(n_block, b + kSlab), tile, r, to);
      }
    }
    const std::size_t end = std::min(args.n_out, args.last_panel * kPanelRows);
    for (std::size_t r = 0; r < tile.rows; ++r) {
      for (std::size_t p = 0; p < kPairs; ++p) {
        const std::size_t first = panel * kPanelRows + p * kPairRows;
        if (first < end) {
          store_pair(args, first, end, tile_row + r, sums[r / kRowsAtOnce][r % kRowsAtOnce][p]);
        }
      }
    }
    tile_row += tile.rows;
  }
}

template <PackedKind kKind>
void many_in_fours(const PackedProductArgs& args) {
  constexpr std::size_t kMost = pairs_at_once(kKind);
  std::size_t panel = args.first_panel;
  while (panel < args.last_panel) {
    const std::size_t pairs = (args.last_panel - panel + 1) / 2;
    // 4 pairs are 2 and 2: a single one waits for the latency of its products.
    if (pairs >= kMost && pairs != kMost + 1) {
      multiply_pairs<kKind, kMost>(args, panel);
      panel += 2 * kMost;
    } else if (pairs >= 2) {
      multiply_pairs<kKind, 2>(args, panel);
      panel += 4;
    } else {
      multiply_pairs<kKind, 1>(args, panel);
      panel += 2;
    }
  }
}

struct InFours {
  template <PackedKind kKind, std::size_t kRows>
  static void few(const PackedProductArgs& args, const ActivationTile& tile) {
    few_in_fours<kKind, kRows>(args, tile);
  }
  template <PackedKind kKind>
  static void many(const PackedProductArgs& args) {
    many_in_fours<kKind>(args);
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#endif

#endif
