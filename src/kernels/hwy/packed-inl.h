// Products with packed weights (kernels/packed.h) on 256-bit integers. Compiled once per target;
// only for x86 from AVX2 on, whose byte products Highway has no name for.
//
// Why this way: vpmaddubsw multiplies 32 pairs of bytes and adds them in twos into 16 bits. With
// weights of 4, 5 or 6 unsigned bits and activations of 8 signed ones, 8, 4 or 2 such vectors can
// be added before 16 bits overflow, so that one widening addition serves many products. A block's 8
// vectors of weights stay in registers while all rows of a tile pass by.

#if defined(RESTKV_KERNELS_HWY_PACKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#include <immintrin.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kVectors = 8;  // of a block: 4 columns each

// How many bits the integers of a product have, which decides how its sums are taken.
enum class QuantBits : std::uint8_t { k4, k5, k6 };

constexpr QuantBits bits_of(PackedKind kind) {
  switch (kind) {
    case PackedKind::kQ5_0:
    case PackedKind::kQ5_K: return QuantBits::k5;
    case PackedKind::kQ6_K: return QuantBits::k6;
    default: return QuantBits::k4;  // 8 bits are two times 4
  }
}

// 8 rows x 32 columns as the products take them. Result: sum * scale + scaled_sum * offset; for 6
// bits the sum has the inner scales and the 32 of q - 32 in it, and there is no offset.
struct Block {
  __m256i quants[kVectors];
  __m256 scale;
  __m256 offset;
  __m256i inner[2];   // 6 bits: scale of each half, as pairs of 16 bits
  __m256i inner_min;  // 6 bits: -32 * {scale of the first half, of the second}
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
  if constexpr (kKind == PackedKind::kQ4_K || kKind == PackedKind::kQ5_K) {
    outer.d = load_8_f16(p);
    outer.dmin = load_8_f16(p + 2 * kPanelRows);
  } else if constexpr (kKind == PackedKind::kQ6_K) {
    outer.d = load_8_f16(p);
  }
  return outer;
}

template <PackedKind kKind>
HWY_INLINE void unpack_scales(const std::byte* p, const Outer& outer, Block& block) {
  if constexpr (kKind == PackedKind::kQ4_K || kKind == PackedKind::kQ5_K) {
    block.scale = _mm256_mul_ps(outer.d, load_8_u8(p));
    block.offset = _mm256_mul_ps(outer.dmin, load_8_u8(p + kPanelRows));
    block.offset = _mm256_xor_ps(block.offset, _mm256_set1_ps(-0.0F));
  } else if constexpr (kKind == PackedKind::kQ6_K) {
    block.scale = outer.d;
    const __m256i low_half = _mm256_set1_epi32(0xFFFF);
    __m256i scales[2];
    for (std::size_t h = 0; h < 2; ++h) {
      scales[h] = load_8_s8(p + h * kPanelRows);
      block.inner[h] =
          _mm256_or_si256(_mm256_and_si256(scales[h], low_half), _mm256_slli_epi32(scales[h], 16));
    }
    const __m256i pair =
        _mm256_or_si256(_mm256_and_si256(scales[0], low_half), _mm256_slli_epi32(scales[1], 16));
    block.inner_min = _mm256_mullo_epi16(pair, _mm256_set1_epi16(-32));
  } else {
    constexpr float kZero = kKind == PackedKind::kQ4_0 ? 8.0F : 16.0F;
    block.scale = load_8_f16(p);
    block.offset = _mm256_mul_ps(block.scale, _mm256_set1_ps(-kZero));
  }
}

// 4, 5 and 6 bits.
template <PackedKind kKind>
HWY_INLINE void unpack_block(const std::byte* p, const Outer& outer, Block& block) {
  unpack_low_nibbles(p, block.quants);
  std::size_t quant_bytes = 128;
  if constexpr (bits_of(kKind) == QuantBits::k5) {
    add_fifth_bits(p + 128, block.quants);
    quant_bytes = 160;
  } else if constexpr (bits_of(kKind) == QuantBits::k6) {
    add_high_pairs(p + 128, block.quants);
    quant_bytes = 192;
  }
  unpack_scales<kKind>(p + quant_bytes, outer, block);
}

// 8 bits as two blocks of 4: q = low + 16 * high.
HWY_INLINE void unpack_low_half(const std::byte* p, Block& block) {
  const __m256i low = _mm256_set1_epi8(0x0F);
  for (std::size_t i = 0; i < kVectors; ++i) {
    block.quants[i] = _mm256_and_si256(load(p + 32 * i), low);
  }
  block.scale = load_8_f16(p + 256);
  block.offset = _mm256_mul_ps(block.scale, _mm256_set1_ps(-128.0F));
}
HWY_INLINE void unpack_high_half(const std::byte* p, Block& block) {
  const __m256i low = _mm256_set1_epi8(0x0F);
  for (std::size_t i = 0; i < kVectors; ++i) {
    block.quants[i] = _mm256_and_si256(_mm256_srli_epi16(load(p + 32 * i), 4), low);
  }
  block.scale = _mm256_mul_ps(load_8_f16(p + 256), _mm256_set1_ps(16.0F));
  block.offset = _mm256_setzero_ps();
}

HWY_INLINE __m256i broadcast_4(const void* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return _mm256_set1_epi32(word);
}

// Products of 4 columns: 16 sums of two.
HWY_INLINE __m256i pairs(const Block& block, const std::int8_t* x, std::size_t i) {
  return _mm256_maddubs_epi16(block.quants[i], broadcast_4(x + 4 * i));
}
HWY_INLINE __m256i pairs_2(const Block& block, const std::int8_t* x, std::size_t i) {
  return _mm256_add_epi16(pairs(block, x, i), pairs(block, x, i + 1));
}
HWY_INLINE __m256i pairs_4(const Block& block, const std::int8_t* x, std::size_t i) {
  return _mm256_add_epi16(pairs_2(block, x, i), pairs_2(block, x, i + 2));
}

// The block's sum for 8 rows of weights and one row of activations.
template <QuantBits kBits>
HWY_INLINE __m256i integer_sum(const Block& block, const std::int8_t* x,
                               const ActivationBlock& activation) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (kBits == QuantBits::k4) {
    return _mm256_madd_epi16(_mm256_add_epi16(pairs_4(block, x, 0), pairs_4(block, x, 4)), ones);
  } else if constexpr (kBits == QuantBits::k5) {
    return _mm256_add_epi32(_mm256_madd_epi16(pairs_4(block, x, 0), ones),
                            _mm256_madd_epi16(pairs_4(block, x, 4), ones));
  } else {
    const __m256i first = _mm256_add_epi32(_mm256_madd_epi16(pairs_2(block, x, 0), block.inner[0]),
                                           _mm256_madd_epi16(pairs_2(block, x, 2), block.inner[0]));
    const __m256i second =
        _mm256_add_epi32(_mm256_madd_epi16(pairs_2(block, x, 4), block.inner[1]),
                         _mm256_madd_epi16(pairs_2(block, x, 6), block.inner[1]));
    const __m256i zero = _mm256_madd_epi16(block.inner_min, broadcast_4(activation.half_sums));
    return _mm256_add_epi32(_mm256_add_epi32(first, second), zero);
  }
}

template <QuantBits kBits>
HWY_INLINE __m256 add_block(const Block& block, const std::int8_t* x,
                            const ActivationBlock& activation, __m256 sum) {
  const __m256 products =
      _mm256_mul_ps(_mm256_cvtepi32_ps(integer_sum<kBits>(block, x, activation)),
                    _mm256_broadcast_ss(&activation.scale));
  sum = _mm256_fmadd_ps(products, block.scale, sum);
  if constexpr (kBits == QuantBits::k6) return sum;
  return _mm256_fmadd_ps(_mm256_broadcast_ss(&activation.scaled_sum), block.offset, sum);
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

// ---- few rows: weights go from memory through registers once -----------------------------------

template <PackedKind kKind, std::size_t kRows>
void multiply_few(const PackedProductArgs& args, const ActivationTile& tile) {
  const PackedLayout layout = packed_layout(kKind);
  const std::size_t panel_bytes = layout.panel_bytes(args.n_in);
  for (std::size_t panel = args.first_panel; panel < args.last_panel; ++panel) {
    const std::byte* p = args.weights + panel * panel_bytes;
    __m256 sums[kRows];
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    Outer outer{};
    for (std::size_t b = 0; b < args.n_in / kPackedBlock; ++b) {
      if (layout.outer_bytes != 0 && b % (kPackedSuperBlock / kPackedBlock) == 0) {
        outer = load_outer<kKind>(p);
        p += layout.outer_bytes;
      }
      const std::int8_t* x = tile.quants + b * kRows * kPackedBlock;
      const ActivationBlock* activations = tile.blocks + b * kRows;
      Block block;
      const auto add_all = [&] {
        for (std::size_t r = 0; r < kRows; ++r) {
          sums[r] = add_block<bits_of(kKind)>(block, x + r * kPackedBlock, activations[r], sums[r]);
        }
      };
      if constexpr (kKind == PackedKind::kQ8_0) {
        unpack_low_half(p, block);
        add_all();
        unpack_high_half(p, block);
        add_all();
      } else {
        unpack_block<kKind>(p, outer, block);
        add_all();
      }
      p += layout.block_bytes;
    }
    for (std::size_t r = 0; r < kRows; ++r) store_row(args, panel, r, sums[r]);
  }
}

// ---- many rows: panels are unpacked once and multiplied with one tile after the other ----------

// Blocks of a panel after unpacking: 8 bits become two.
template <PackedKind kKind>
constexpr std::size_t kParts = kKind == PackedKind::kQ8_0 ? 2 : 1;

template <PackedKind kKind>
void unpack_panel(const PackedProductArgs& args, std::size_t panel, Block* blocks) {
  const PackedLayout layout = packed_layout(kKind);
  const std::byte* p = args.weights + panel * layout.panel_bytes(args.n_in);
  Outer outer{};
  for (std::size_t b = 0; b < args.n_in / kPackedBlock; ++b) {
    if (layout.outer_bytes != 0 && b % (kPackedSuperBlock / kPackedBlock) == 0) {
      outer = load_outer<kKind>(p);
      p += layout.outer_bytes;
    }
    if constexpr (kKind == PackedKind::kQ8_0) {
      unpack_low_half(p, blocks[2 * b]);
      unpack_high_half(p, blocks[2 * b + 1]);
    } else {
      unpack_block<kKind>(p, outer, blocks[b]);
    }
    p += layout.block_bytes;
  }
}

template <PackedKind kKind>
void multiply_tile(const PackedProductArgs& args, const Block* blocks, const ActivationTile& tile,
                   std::size_t panel, std::size_t first_row) {
  HWY_ALIGN float sums[kMostTileRows * kPanelRows] = {};
  for (std::size_t b = 0; b < args.n_in / kPackedBlock * kParts<kKind>; ++b) {
    const Block block = blocks[b];
    const std::size_t at = b / kParts<kKind> * tile.rows;
    const std::int8_t* x = tile.quants + at * kPackedBlock;
    const ActivationBlock* activations = tile.blocks + at;
    for (std::size_t r = 0; r < tile.rows; ++r) {
      float* const sum = sums + r * kPanelRows;
      _mm256_store_ps(sum, add_block<bits_of(kKind)>(block, x + r * kPackedBlock, activations[r],
                                                     _mm256_load_ps(sum)));
    }
  }
  for (std::size_t r = 0; r < tile.rows; ++r) {
    store_row(args, panel, first_row + r, _mm256_load_ps(sums + r * kPanelRows));
  }
}

template <PackedKind kKind>
void multiply_many(const PackedProductArgs& args) {
  const std::size_t panel_blocks = args.n_in / kPackedBlock * kParts<kKind>;
  auto* const blocks = reinterpret_cast<Block*>(args.scratch);
  const std::size_t together =
      std::max<std::size_t>(1, packed_scratch_bytes(args.n_in) / (panel_blocks * sizeof(Block)));
  for (std::size_t begin = args.first_panel; begin < args.last_panel; begin += together) {
    const std::size_t end = std::min(args.last_panel, begin + together);
    for (std::size_t panel = begin; panel < end; ++panel) {
      unpack_panel<kKind>(args, panel, blocks + (panel - begin) * panel_blocks);
    }
    std::size_t first_row = 0;
    for (const ActivationTile& tile : args.tiles) {
      for (std::size_t panel = begin; panel < end; ++panel) {
        multiply_tile<kKind>(args, blocks + (panel - begin) * panel_blocks, tile, panel, first_row);
      }
      first_row += tile.rows;
    }
  }
}

template <PackedKind kKind>
void multiply_kind(const PackedProductArgs& args) {
  if (args.tiles.size() == 1) {
    switch (args.tiles.front().rows) {
      case 1: return multiply_few<kKind, 1>(args, args.tiles.front());
      case 2: return multiply_few<kKind, 2>(args, args.tiles.front());
      case 3: return multiply_few<kKind, 3>(args, args.tiles.front());
      case 4: return multiply_few<kKind, 4>(args, args.tiles.front());
      default: break;
    }
  }
  multiply_many<kKind>(args);
}

void multiply_packed(const PackedProductArgs& args) {
  switch (args.kind) {
    case PackedKind::kQ4_0: return multiply_kind<PackedKind::kQ4_0>(args);
    case PackedKind::kQ5_0: return multiply_kind<PackedKind::kQ5_0>(args);
    case PackedKind::kQ8_0: return multiply_kind<PackedKind::kQ8_0>(args);
    case PackedKind::kQ4_K: return multiply_kind<PackedKind::kQ4_K>(args);
    case PackedKind::kQ5_K: return multiply_kind<PackedKind::kQ5_K>(args);
    case PackedKind::kQ6_K: return multiply_kind<PackedKind::kQ6_K>(args);
  }
}

// ---- activations -------------------------------------------------------------------------------

HWY_INLINE std::int32_t largest_of(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
  return _mm_cvtsi128_si32(m);
}

HWY_INLINE std::int32_t sum_of_8(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
  return _mm_cvtsi128_si32(s);
}

// One block of 32. Magnitudes are compared as integers, where infinities and NaN are the largest.
void round_block(const float* x, std::int8_t* quants, ActivationBlock& block) {
  const __m256i magnitude_bits = _mm256_set1_epi32(0x7FFFFFFF);
  __m256 v[4];
  __m256i largest = _mm256_setzero_si256();
  for (std::size_t i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    largest =
        _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude_bits));
  }
  const std::int32_t bits = largest_of(largest);
  float magnitude;
  std::memcpy(&magnitude, &bits, sizeof(magnitude));
  const bool finite = magnitude <= std::numeric_limits<float>::max();
  if (!finite || magnitude < kSmallestActivation) {
    std::memset(quants, 0, kPackedBlock);
    const float scale = finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
    block = {.scale = scale, .scaled_sum = scale, .half_sums = {0, 0}};
    return;
  }
  const __m256 inverse = _mm256_set1_ps(127.0F / magnitude);
  __m256i q[4];
  for (std::size_t i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
  const std::int32_t first = sum_of_8(_mm256_add_epi32(q[0], q[1]));
  const std::int32_t second = sum_of_8(_mm256_add_epi32(q[2], q[3]));
  // Packing works within 128 bits; the last shuffle puts the 4-byte groups back in order.
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(quants),
                      _mm256_permutevar8x32_epi32(bytes, order));
  block.scale = magnitude / 127.0F;
  block.scaled_sum = block.scale * static_cast<float>(first + second);
  block.half_sums[0] = static_cast<std::int16_t>(first);
  block.half_sums[1] = static_cast<std::int16_t>(second);
}

void round_activations(const float* x, std::size_t n_in, const ActivationTile& tile,
                       std::size_t row) {
  for (std::size_t b = 0; b < n_in / kPackedBlock; ++b) {
    const std::size_t at = b * tile.rows + row;
    round_block(x + b * kPackedBlock, tile.quants + at * kPackedBlock, tile.blocks[at]);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#else

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {
constexpr decltype(KernelTable::multiply_packed) multiply_packed = nullptr;
constexpr decltype(KernelTable::round_activations) round_activations = nullptr;
}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
