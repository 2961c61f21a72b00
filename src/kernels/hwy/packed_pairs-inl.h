// Products with packed weights (kernels/packed.h), bytes added in twos, on 256-bit integers.
// Compiled once per target; only for x86 from AVX2 on, whose byte products Highway has no name for.
//
// Why this way: vpmaddubsw multiplies 32 unsigned bytes with 32 signed ones and adds them in twos
// into 16 bits; several such vectors can be added before 16 bits overflow, so that one widening
// addition serves many products. How many depends on the bits of a weight.
//   Few rows: weights go from memory through registers once, as unsigned bytes; the activations of
//   4 columns are broadcast from memory. Many rows: broadcasts would be half of the work. Weights
//   are unpacked once, as signed bytes, which an instruction takes from memory; the broadcast
//   activations, unsigned (+ 128), stay in registers while kPanelsTogether panels pass by. The 128
//   are taken out by a number of each row and block.
// Both give the same integers, and the same f32 sums of them.

#if defined(RESTKV_KERNELS_HWY_PACKED_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_PAIRS_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_PAIRS_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_PAIRS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/highway.h>

#include "kernels/hwy/packed_blocks-inl.h"
#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Sum over the block of `product(i)`, 16 sums of two for the i-th 4 columns. kMost: how many of
// them can be added in 16 bits. first, second: what multiplies each half, pairs of 16 bits, 1 or
// inner scales.
template <int kMost, class Product>
HWY_INLINE __m256i add_products(const Product& product, __m256i first, __m256i second) {
  const auto two = [&](std::size_t i) { return _mm256_add_epi16(product(i), product(i + 1)); };
  const auto four = [&](std::size_t i) { return _mm256_add_epi16(two(i), two(i + 2)); };
  if constexpr (kMost == 8) {
    return _mm256_madd_epi16(_mm256_add_epi16(four(0), four(4)), first);
  } else if constexpr (kMost == 4) {
    return _mm256_add_epi32(_mm256_madd_epi16(four(0), first), _mm256_madd_epi16(four(4), second));
  } else {
    static_assert(kMost == 2);
    return _mm256_add_epi32(
        _mm256_add_epi32(_mm256_madd_epi16(two(0), first), _mm256_madd_epi16(two(2), first)),
        _mm256_add_epi32(_mm256_madd_epi16(two(4), second), _mm256_madd_epi16(two(6), second)));
  }
}

// Products of 16 bits that can be added: a quant's largest value times 127, in twos, must not pass
// 32,767; nor times 255 where signed quants meet unsigned activations.
constexpr int most_unsigned(PackedKind kind) {
  switch (packed_layout(kind).quant_bytes) {
    case 160: return 4;  // 31 * 127 * 2 * 4 = 31,496
    case 192: return 2;  // 63 * 127 * 2 * 2 = 32,004
    default: return 8;   // 15 * 127 * 2 * 8 = 30,480
  }
}
constexpr int most_signed(PackedKind kind) {
  switch (kind) {
    case PackedKind::kQ4K: return 4;      // 15 * 255 * 2 * 4 = 30,600
    case PackedKind::kQ5K: return 2;      // 31 * 255 * 2 * 2 = 31,620
    default: return most_unsigned(kind);  // 8 * 255 * 2 * 8 = 16 * ... * 4 = 32 * ... * 2 = 32,640
  }
}

// The block's part for 8 rows of weights and one row of activations.
template <PackedKind kKind>
HWY_INLINE __m256 add_block(const Block& block, const std::int8_t* x,
                            const ActivationBlock& activation, __m256 sum) {
  constexpr int kMost = most_unsigned(kKind);
  const __m256i ones = _mm256_set1_epi16(1);
  const auto product = [&](std::size_t i) {
    return _mm256_maddubs_epi16(block.quants[i], broadcast_4(x + 4 * i));
  };
  __m256i integers;
  if constexpr (kKind == PackedKind::kQ6K) {
    integers = add_products<kMost>(product, block.inner[0], block.inner[1]);
  } else {
    integers = add_products<kMost>(product, ones, ones);
  }
  if constexpr (kKind == PackedKind::kQ8_0) {
    const auto high = [&](std::size_t i) {
      return _mm256_maddubs_epi16(block.high[i], broadcast_4(x + 4 * i));
    };
    const __m256i sixteens = _mm256_set1_epi16(16);
    integers = _mm256_add_epi32(integers, add_products<kMost>(high, sixteens, sixteens));
  }
  if constexpr (!has_mins(kKind)) {
    integers = _mm256_add_epi32(
        integers, _mm256_madd_epi16(block.minus_zero, broadcast_4(activation.half_sums)));
  }
  return add_scaled<kKind>(integers, block.scale, block.offset, activation, sum);
}

// ---- few rows: weights go from memory through registers once -----------------------------------

template <PackedKind kKind, std::size_t kRows>
void few_in_pairs(const PackedProductArgs& args, const ActivationTile& tile) {
  for (std::size_t panel = args.first_panel; panel < args.last_panel; ++panel) {
    __m256 sums[kRows];
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    for_each_block<kKind>(args, panel, [&](std::size_t b, const std::byte* p, const Outer& outer) {
      Block block;
      unpack_block<kKind>(p, outer, block);
      for (std::size_t r = 0; r < kRows; ++r) {
        const std::size_t at = b * kRows + r;
        sums[r] =
            add_block<kKind>(block, tile.quants + at * kPackedBlock, tile.blocks[at], sums[r]);
      }
    });
    for (std::size_t r = 0; r < kRows; ++r) store_row(args, panel, r, sums[r]);
  }
}

// ---- many rows: panels are unpacked once and multiplied with one tile after the other ----------

struct Offsets {
  float offset[kPanelRows];
};
struct InnerScales {
  std::int16_t inner[2][2 * kPanelRows];
};
template <int>
struct Nothing {};

// A block of a panel after unpacking, with signed quants.
template <PackedKind kKind>
struct alignas(32) SignedBlock
    : std::conditional_t<has_mins(kKind), Offsets, Nothing<0>>,
      std::conditional_t<kKind == PackedKind::kQ6K, InnerScales, Nothing<1>> {
  static constexpr std::size_t kParts = kKind == PackedKind::kQ8_0 ? 2 : 1;
  std::int8_t quants[kParts][kVectors * 32];  // 8 bits: q = part 0 + 16 * part 1
  std::int32_t minus_128[kPanelRows];         // -128 * the sum of the (scaled) quants of each row
  float scale[kPanelRows];
};

HWY_INLINE __m256i load_integers(const void* p) {
  return _mm256_load_si256(static_cast<const __m256i*>(p));
}

// Integer sum of a block with activations + 128 in x.
template <PackedKind kKind>
HWY_INLINE __m256i multiply_signed(const SignedBlock<kKind>& block, const __m256i* x) {
  constexpr int kMost = most_signed(kKind);
  const __m256i ones = _mm256_set1_epi16(1);
  const auto product = [&](std::size_t i) {
    return _mm256_maddubs_epi16(x[i], load_integers(block.quants[0] + 32 * i));
  };
  if constexpr (kKind == PackedKind::kQ6K) {
    return add_products<kMost>(product, load_integers(block.inner[0]),
                               load_integers(block.inner[1]));
  } else if constexpr (kKind == PackedKind::kQ8_0) {
    const auto high = [&](std::size_t i) {
      return _mm256_maddubs_epi16(x[i], load_integers(block.quants[1] + 32 * i));
    };
    const __m256i sixteens = _mm256_set1_epi16(16);
    return _mm256_add_epi32(add_products<kMost>(product, ones, ones),
                            add_products<kMost>(high, sixteens, sixteens));
  } else {
    return add_products<kMost>(product, ones, ones);
  }
}

template <PackedKind kKind>
HWY_INLINE void make_signed(const std::byte* p, const Outer& outer, SignedBlock<kKind>& block) {
  __m256i quants[kVectors];
  __m256i high[kVectors];
  unpack_quants<kKind>(p, quants, high);
  const auto store = [](void* to, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(to), v); };
  for (std::size_t i = 0; i < kVectors; ++i) {
    if constexpr (kKind == PackedKind::kQ8_0) {
      // q = low + 16 * (high - 8); a low nibble from 8 on becomes negative and adds 1 to the high.
      const __m256i carry = _mm256_cmpgt_epi8(quants[i], _mm256_set1_epi8(7));  // -1 or 0
      const __m256i low = _mm256_sub_epi8(quants[i], _mm256_and_si256(carry, _mm256_set1_epi8(16)));
      store(block.quants[0] + 32 * i, low);
      store(block.quants[1] + 32 * i,
            _mm256_sub_epi8(_mm256_sub_epi8(high[i], _mm256_set1_epi8(8)), carry));
    } else {
      store(block.quants[0] + 32 * i,
            _mm256_sub_epi8(quants[i], _mm256_set1_epi8(static_cast<char>(zero_of(kKind)))));
    }
  }
  p += packed_layout(kKind).quant_bytes;
  if constexpr (kKind == PackedKind::kQ6K) {
    __m256i scales[2];
    __m256i inner[2];
    unpack_inner_scales(p, scales, inner);
    for (std::size_t h = 0; h < 2; ++h) store(block.inner[h], inner[h]);
  }
  _mm256_store_ps(block.scale, scale_of<kKind>(p, outer));
  if constexpr (has_mins(kKind)) _mm256_store_ps(block.offset, offset_of<kKind>(p, outer));
  __m256i x[kVectors];
  for (__m256i& v : x) v = _mm256_set1_epi8(static_cast<char>(0x80));
  store(block.minus_128,
        _mm256_sub_epi32(_mm256_setzero_si256(), multiply_signed<kKind>(block, x)));
}

// sums[r * n_panel + p] of 8 rows: tile times blocks[b * n_panel + p].
template <PackedKind kKind>
void multiply_tile(const SignedBlock<kKind>* blocks, std::size_t n_block, std::size_t n_panel,
                   const ActivationTile& tile, float* sums) {
  std::fill(sums, sums + tile.rows * n_panel * kPanelRows, 0.0F);
  for (std::size_t b = 0; b < n_block; ++b) {
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const std::size_t at = b * tile.rows + r;
      const ActivationBlock& activation = tile.blocks[at];
      __m256i x[kVectors];
      for (std::size_t i = 0; i < kVectors; ++i) {
        x[i] = broadcast_4(tile.quants + at * kPackedBlock + 4 * i);
      }
      float* const row_sums = sums + r * n_panel * kPanelRows;
      for (std::size_t p = 0; p < n_panel; ++p) {
        const SignedBlock<kKind>& block = blocks[b * n_panel + p];
        const __m256i integers =
            _mm256_add_epi32(multiply_signed<kKind>(block, x), load_integers(block.minus_128));
        __m256 offset = _mm256_setzero_ps();
        if constexpr (has_mins(kKind)) offset = _mm256_load_ps(block.offset);
        float* const sum = row_sums + p * kPanelRows;
        _mm256_store_ps(sum, add_scaled<kKind>(integers, _mm256_load_ps(block.scale), offset,
                                               activation, _mm256_load_ps(sum)));
      }
    }
  }
}

template <PackedKind kKind>
void many_in_pairs(const PackedProductArgs& args) {
  static_assert(sizeof(SignedBlock<kKind>) <= kUnpackedBlockBytes);
  const std::size_t n_block = args.n_in / kPackedBlock;
  auto* const blocks = reinterpret_cast<SignedBlock<kKind>*>(args.scratch);
  HWY_ALIGN float sums[kMostTileRows * kPanelsTogether * kPanelRows];
  for (std::size_t begin = args.first_panel; begin < args.last_panel; begin += kPanelsTogether) {
    const std::size_t n_panel = std::min(kPanelsTogether, args.last_panel - begin);
    for (std::size_t p = 0; p < n_panel; ++p) {
      for_each_block<kKind>(args, begin + p,
                            [&](std::size_t b, const std::byte* at, const Outer& outer) {
                              make_signed<kKind>(at, outer, blocks[b * n_panel + p]);
                            });
    }
    std::size_t first_row = 0;
    for (const ActivationTile& tile : args.tiles) {
      fetch_results(args, begin, n_panel, first_row, tile.rows);
      multiply_tile<kKind>(blocks, n_block, n_panel, tile, sums);
      for (std::size_t r = 0; r < tile.rows; ++r) {
        for (std::size_t p = 0; p < n_panel; ++p) {
          store_row(args, begin + p, first_row + r,
                    _mm256_load_ps(sums + (r * n_panel + p) * kPanelRows));
        }
      }
      first_row += tile.rows;
    }
  }
}

struct InPairs {
  template <PackedKind kKind, std::size_t kRows>
  static void few(const PackedProductArgs& args, const ActivationTile& tile) {
    few_in_pairs<kKind, kRows>(args, tile);
  }
  template <PackedKind kKind>
  static void many(const PackedProductArgs& args) {
    many_in_pairs<kKind>(args);
  }
};

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
