// Products of few rows with packed weights (kernels/packed.h), bytes added in fours. Compiled as
// fours_vectors-inl.h says. Weights go from memory through registers once, as unsigned bytes of any
// size; integers are the same as everywhere, and so are the f32 sums of them.

#if defined(RESTKV_KERNELS_HWY_PACKED_FEW_FOURS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_FEW_FOURS_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_FEW_FOURS_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_FEW_FOURS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "kernels/hwy/fours_vectors-inl.h"
#include "kernels/hwy/packed_blocks-inl.h"
#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES(RESTKV_FOURS_TARGET)
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

#if HWY_TARGET == HWY_AVX3

// Weights of a block as they are multiplied: w[j] holds the columns 8 j to 8 j + 7 of all 8 rows,
// V_2j and V_2j+1 of packed.h, unsigned.
inline constexpr std::size_t kWideVectors = 4;

// One value in the low half, another in the high one.
HWY_INLINE __m512i halves(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
}
HWY_INLINE __m512i twice(const std::byte* p) { return _mm512_broadcast_i64x4(load(p)); }

template <PackedKind kKind>
HWY_INLINE void unpack_wide(const std::byte* p, __m512i (&w)[kWideVectors]) {
  if constexpr (kKind == PackedKind::kQ8_0) {
    for (std::size_t j = 0; j < kWideVectors; ++j) w[j] = _mm512_loadu_si512(p + 64 * j);
    return;
  }
  const __m512i low = _mm512_set1_epi8(0x0F);
  for (std::size_t j = 0; j < 2; ++j) {
    const __m512i two = _mm512_loadu_si512(p + 64 * j);
    w[j] = _mm512_and_si512(two, low);
    w[j + 2] = _mm512_and_si512(_mm512_srli_epi16(two, 4), low);
  }
  if constexpr (packed_layout(kKind).quant_bytes == 160) {
    const __m512i high = twice(p + 128);
    for (std::size_t j = 0; j < kWideVectors; ++j) {
      const int bit = 0x01010101 << (2 * j);
      const __mmask64 set = _mm512_test_epi8_mask(high, halves(bit, bit << 1));
      w[j] = _mm512_mask_add_epi8(w[j], set, w[j], _mm512_set1_epi8(0x10));
    }
  }
  if constexpr (packed_layout(kKind).quant_bytes == 192) {
    // Bits 0-1, 2-3, 4-5, 6-7 of a byte go to 4-5; what a rotation brings from beside is cut off.
    const __m512i moves[2] = {halves(4, 2), halves(0, 30)};
    const __m512i bits = _mm512_set1_epi8(0x30);
    for (std::size_t j = 0; j < kWideVectors; ++j) {
      const __m512i moved = _mm512_rolv_epi32(twice(p + 128 + 32 * (j / 2)), moves[j % 2]);
      w[j] = _mm512_or_si512(w[j], _mm512_and_si512(moved, bits));
    }
  }
}

HWY_INLINE __m256i add_halves(__m512i v) {
  return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

// The scales beside them.
template <PackedKind kKind>
HWY_INLINE void unpack_scales(const std::byte* p, const Outer& outer, Block& block) {
  block.scale = scale_of<kKind>(p, outer);
  if constexpr (has_mins(kKind)) block.offset = offset_of<kKind>(p, outer);
  block.minus_zero = _mm256_set1_epi16(-zero_of(kKind));
  if constexpr (kKind == PackedKind::kQ6K) {
    for (std::size_t h = 0; h < 2; ++h) block.inner[h] = load_8_s8(p + h * kPanelRows);
    const __m256i pair =
        _mm256_or_si256(_mm256_and_si256(block.inner[0], _mm256_set1_epi32(0xFFFF)),
                        _mm256_slli_epi32(block.inner[1], 16));
    block.minus_zero = _mm256_mullo_epi16(pair, block.minus_zero);
  }
}

// 512 bits: the scales of Block and wide weights.
struct FewBlock : Block {
  __m512i wide[kWideVectors];
};

template <PackedKind kKind>
HWY_INLINE void unpack_few(const std::byte* p, const Outer& outer, FewBlock& block) {
  unpack_wide<kKind>(p, block.wide);
  unpack_scales<kKind>(p + packed_layout(kKind).quant_bytes, outer, block);
}

// Integer sum of a block for one row of activations, as they are.
template <PackedKind kKind>
HWY_INLINE __m256i sum_in_fours(const FewBlock& block, const std::int8_t* x,
                                const ActivationBlock& activation) {
  const __m512i all =
      _mm512_broadcast_i64x4(_mm256_load_si256(reinterpret_cast<const __m256i*>(x)));
  const auto add = [&](__m512i sum, std::size_t j) {
    const int column = static_cast<int>(2 * j);
    return add_fours(sum, block.wide[j], _mm512_permutexvar_epi32(halves(column, column + 1), all));
  };
  __m256i start = _mm256_setzero_si256();
  if constexpr (!has_mins(kKind)) {
    start = _mm256_madd_epi16(block.minus_zero, broadcast_4(activation.half_sums));
  }
  const __m512i zero = _mm512_setzero_si512();
  if constexpr (kKind == PackedKind::kQ6K) {
    const __m256i first = add_halves(add(add(zero, 0), 1));
    const __m256i second = add_halves(add(add(zero, 2), 3));
    return _mm256_add_epi32(start, _mm256_add_epi32(_mm256_mullo_epi32(first, block.inner[0]),
                                                    _mm256_mullo_epi32(second, block.inner[1])));
  } else {
    return add_halves(add(add(add(add(_mm512_zextsi256_si512(start), 0), 1), 2), 3));
  }
}

#else

// 256 bits: weights are Block::quants.
struct FewBlock : Block {};

template <PackedKind kKind>
HWY_INLINE void unpack_few(const std::byte* p, const Outer& outer, FewBlock& block) {
  unpack_for_fours<kKind>(p, outer, block);
}

// Integer sum of a block for one row of activations, as they are.
template <PackedKind kKind>
HWY_INLINE __m256i sum_in_fours(const FewBlock& block, const std::int8_t* x,
                                const ActivationBlock& activation) {
  const auto half = [&](std::size_t first, __m256i sum) {
    for (std::size_t i = first; i < first + kVectors / 2; ++i) {
      sum = add_fours(sum, block.quants[i], broadcast_4(x + 4 * i));
    }
    return sum;
  };
  __m256i sum = _mm256_setzero_si256();
  if constexpr (!has_mins(kKind)) {
    sum = _mm256_madd_epi16(block.minus_zero, broadcast_4(activation.half_sums));
  }
  if constexpr (kKind == PackedKind::kQ6K) {
    for (std::size_t h = 0; h < 2; ++h) {
      const __m256i part = half(h * kVectors / 2, _mm256_setzero_si256());
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(part, block.inner[h]));
    }
    return sum;
  } else {
    return half(kVectors / 2, half(0, sum));
  }
}

#endif

template <PackedKind kKind, std::size_t kRows>
void few_in_fours(const PackedProductArgs& args, const ActivationTile& tile) {
  for (std::size_t panel = args.first_panel; panel < args.last_panel; ++panel) {
    __m256 sums[kRows];
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    for_each_block<kKind>(args, panel, [&](std::size_t b, const std::byte* p, const Outer& outer) {
      FewBlock block;
      unpack_few<kKind>(p, outer, block);
      for (std::size_t r = 0; r < kRows; ++r) {
        const std::size_t at = b * kRows + r;
        const ActivationBlock& activation = tile.blocks[at];
        const __m256i integers =
            sum_in_fours<kKind>(block, tile.quants + at * kPackedBlock, activation);
        sums[r] = add_scaled<kKind>(integers, block.scale, block.offset, activation, sums[r]);
      }
    });
    for (std::size_t r = 0; r < kRows; ++r) store_row(args, panel, r, sums[r]);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#endif

#endif
