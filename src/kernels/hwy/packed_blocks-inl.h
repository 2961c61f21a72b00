// Unpacks blocks of weights (kernels/packed.h) into 256-bit registers. Compiled once per target;
// only for x86 from AVX2 on.

#if defined(RESTKV_KERNELS_HWY_PACKED_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_BLOCKS_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_BLOCKS_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_BLOCKS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "kernels/packed.h"
#include "kernels/tiles.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kVectors = 8;  // of a block: 4 columns each

// 8 rows x 32 columns as few rows take them; 8 bits are two times 4, see integer_sum().
struct Block {
  __m256i quants[kVectors];
  __m256i high[kVectors];  // 8 bits: the quants' high nibbles
  __m256 scale;
  __m256 offset;       // kinds with mins
  __m256i inner[2];    // 6 bits: scale of each half, as pairs of 16 bits
  __m256i minus_zero;  // pairs of 16 bits that multiply the halves' sums of activations
};

HWY_INLINE __m256i load(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
HWY_INLINE __m256 load_8_f16(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
HWY_INLINE __m256 load_8_u8(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
HWY_INLINE __m256i load_8_s8(const std::byte* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

HWY_INLINE void unpack_low_nibbles(const std::byte* p, __m256i* quants) {
  const __m256i low = _mm256_set1_epi8(0x0F);
  for (std::size_t i = 0; i < 4; ++i) {
    const __m256i two = load(p + 32 * i);
    quants[i] = _mm256_and_si256(two, low);
    quants[i + 4] = _mm256_and_si256(_mm256_srli_epi16(two, 4), low);
  }
}

HWY_INLINE void add_fifth_bits(const std::byte* p, __m256i* quants) {
  const __m256i high = load(p);
  const __m256i bit = _mm256_set1_epi8(0x10);
  for (int i = 0; i < 8; ++i) {
    const __m256i moved = i <= 4 ? _mm256_slli_epi16(high, 4 - i) : _mm256_srli_epi16(high, i - 4);
    quants[i] = _mm256_or_si256(quants[i], _mm256_and_si256(moved, bit));
  }
}

HWY_INLINE void add_high_pairs(const std::byte* p, __m256i* quants) {
  const __m256i bits = _mm256_set1_epi8(0x30);
  for (int k = 0; k < 2; ++k) {
    const __m256i high = load(p + 32 * k);
    for (int i = 0; i < 4; ++i) {
      const __m256i moved =
          i <= 2 ? _mm256_slli_epi16(high, 4 - 2 * i) : _mm256_srli_epi16(high, 2);
      quants[4 * k + i] = _mm256_or_si256(quants[4 * k + i], _mm256_and_si256(moved, bits));
    }
  }
}

// Outer scales of a superblock.
struct Outer {
  __m256 d;
  __m256 dmin;
};

template <PackedKind kKind>
HWY_INLINE Outer load_outer(const std::byte* p) {
  Outer outer{_mm256_setzero_ps(), _mm256_setzero_ps()};
  if constexpr (kKind == PackedKind::kQ4K || kKind == PackedKind::kQ5K) {
    outer.d = load_8_f16(p);
    outer.dmin = load_8_f16(p + 2 * kPanelRows);
  } else if constexpr (kKind == PackedKind::kQ6K) {
    outer.d = load_8_f16(p);
  }
  return outer;
}

// Scale of each half as pairs of 16 bits.
HWY_INLINE void unpack_inner_scales(const std::byte* p, __m256i* scales, __m256i* inner) {
  const __m256i low_half = _mm256_set1_epi32(0xFFFF);
  for (std::size_t h = 0; h < 2; ++h) {
    scales[h] = load_8_s8(p + h * kPanelRows);
    inner[h] =
        _mm256_or_si256(_mm256_and_si256(scales[h], low_half), _mm256_slli_epi32(scales[h], 16));
  }
}

template <PackedKind kKind>
HWY_INLINE __m256 scale_of(const std::byte* p, const Outer& outer) {
  if constexpr (has_mins(kKind)) return _mm256_mul_ps(outer.d, load_8_u8(p));
  if constexpr (kKind == PackedKind::kQ6K) return outer.d;
  return load_8_f16(p);
}
template <PackedKind kKind>
HWY_INLINE __m256 offset_of(const std::byte* p, const Outer& outer) {
  if constexpr (!has_mins(kKind)) return _mm256_setzero_ps();
  const __m256 min = _mm256_mul_ps(outer.dmin, load_8_u8(p + kPanelRows));
  return _mm256_xor_ps(min, _mm256_set1_ps(-0.0F));
}

// The stored quants, unsigned; of 8 bits the two nibbles.
template <PackedKind kKind>
HWY_INLINE void unpack_quants(const std::byte* p, __m256i* quants, __m256i* high) {
  if constexpr (kKind == PackedKind::kQ8_0) {
    const __m256i low = _mm256_set1_epi8(0x0F);
    for (std::size_t i = 0; i < kVectors; ++i) {
      const __m256i q = load(p + 32 * i);
      quants[i] = _mm256_and_si256(q, low);
      high[i] = _mm256_and_si256(_mm256_srli_epi16(q, 4), low);
    }
  } else {
    unpack_low_nibbles(p, quants);
    if constexpr (packed_layout(kKind).quant_bytes == 160) add_fifth_bits(p + 128, quants);
    if constexpr (packed_layout(kKind).quant_bytes == 192) add_high_pairs(p + 128, quants);
  }
}

template <PackedKind kKind>
HWY_INLINE void unpack_block(const std::byte* p, const Outer& outer, Block& block) {
  unpack_quants<kKind>(p, block.quants, block.high);
  p += packed_layout(kKind).quant_bytes;
  block.scale = scale_of<kKind>(p, outer);
  if constexpr (has_mins(kKind)) block.offset = offset_of<kKind>(p, outer);
  if constexpr (kKind == PackedKind::kQ6K) {
    __m256i scales[2];
    unpack_inner_scales(p, scales, block.inner);
    const __m256i pair = _mm256_or_si256(_mm256_and_si256(scales[0], _mm256_set1_epi32(0xFFFF)),
                                         _mm256_slli_epi32(scales[1], 16));
    block.minus_zero = _mm256_mullo_epi16(pair, _mm256_set1_epi16(-zero_of(kKind)));
  } else {
    block.minus_zero = _mm256_set1_epi16(-zero_of(kKind));
  }
}

HWY_INLINE __m256i broadcast_4(const void* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return _mm256_set1_epi32(word);
}

// Adds a block's integer sum and, for kinds with mins, the mins' part.
template <PackedKind kKind>
HWY_INLINE __m256 add_scaled(__m256i integers, __m256 scale, __m256 offset,
                             const ActivationBlock& activation, __m256 sum) {
  const __m256 products =
      _mm256_mul_ps(_mm256_cvtepi32_ps(integers), _mm256_broadcast_ss(&activation.scale));
  sum = _mm256_fmadd_ps(products, scale, sum);
  if constexpr (has_mins(kKind)) {
    sum = _mm256_fmadd_ps(_mm256_broadcast_ss(&activation.scaled_sum), offset, sum);
  }
  return sum;
}

// Writes the results of a panel for one row of activations.
HWY_INLINE void store_row(const PackedProductArgs& args, std::size_t panel, std::size_t row,
                          __m256 sum) {
  const std::size_t first = panel * kPanelRows;
  float* const y = args.y + row * args.y_stride + first;
  if (first + kPanelRows <= args.n_out) {
    if (args.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(args.bias + first));
    _mm256_storeu_ps(y, sum);
    return;
  }
  HWY_ALIGN float values[kPanelRows];
  _mm256_store_ps(values, sum);
  for (std::size_t i = 0; first + i < args.n_out; ++i) {
    y[i] = args.bias == nullptr ? values[i] : values[i] + args.bias[first + i];
  }
}

// Asks for the lines that the results of these panels and rows will go to, before they are
// computed. Neighbouring rows lie a page or more apart, so no processor foresees them, and stores
// that wait for their lines would hold up all work behind them.
HWY_INLINE void fetch_results(const PackedProductArgs& args, std::size_t panel, std::size_t panels,
                              std::size_t row, std::size_t rows) {
  const std::size_t first = panel * kPanelRows;
  const std::size_t end = std::min(first + panels * kPanelRows, args.n_out);
  for (std::size_t r = row; r < row + rows; ++r) {
    const float* const y = args.y + r * args.y_stride;
    for (std::size_t i = first; i < end; i += kLineFloats) __builtin_prefetch(y + i, 1);
  }
}

// How far ahead of the block in work weights are fetched: what memory brings in the time that a
// line takes. Processors follow such a stream by themselves, but not far enough ahead for one
// token's products; behind the last block it asks for a little that nobody reads.
constexpr std::size_t kFetchAhead = 8192;  // bytes

// Calls body(b, p, outer) for each block b of a panel, which lies at p.
template <PackedKind kKind, class Body>
HWY_INLINE void for_each_block(const PackedProductArgs& args, std::size_t panel, const Body& body) {
  const PackedLayout layout = packed_layout(kKind);
  const std::byte* p = args.weights + panel * layout.panel_bytes(args.n_in);
  Outer outer{};
  for (std::size_t b = 0; b < args.n_in / kPackedBlock; ++b) {
    if (layout.outer_bytes != 0 && b % (kPackedSuperBlock / kPackedBlock) == 0) {
      outer = load_outer<kKind>(p);
      p += layout.outer_bytes;
    }
    for (std::size_t line = 0; line < layout.block_bytes; line += 64) {
      __builtin_prefetch(p + kFetchAhead + line);
    }
    body(b, p, outer);
    p += layout.block_bytes;
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
