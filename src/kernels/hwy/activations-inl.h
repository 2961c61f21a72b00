// Rounds activations to 8 bits for packed products. Compiled once per target; only for x86 from
// AVX2 on.

#if defined(RESTKV_KERNELS_HWY_ACTIVATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_ACTIVATIONS_INL_H_
#undef RESTKV_KERNELS_HWY_ACTIVATIONS_INL_H_
#else
#define RESTKV_KERNELS_HWY_ACTIVATIONS_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <hwy/highway.h>

#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

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
void round_block(const float* x, ActivationForm form, std::int8_t* quants, ActivationBlock& block) {
  const int offset = form == ActivationForm::kOffset ? 0x80 : 0;
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
    std::memset(quants, offset, kPackedBlock);
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
                      _mm256_xor_si256(_mm256_permutevar8x32_epi32(bytes, order),
                                       _mm256_set1_epi8(static_cast<char>(offset))));
  block.scale = magnitude / 127.0F;
  block.scaled_sum = block.scale * static_cast<float>(first + second);
  block.half_sums[0] = static_cast<std::int16_t>(first);
  block.half_sums[1] = static_cast<std::int16_t>(second);
}

void round_activations(const float* x, std::size_t n_in, const ActivationTile& tile,
                       std::size_t row) {
  for (std::size_t b = 0; b < n_in / kPackedBlock; ++b) {
    const std::size_t at = b * tile.rows + row;
    round_block(x + b * kPackedBlock, tile.form, tile.quants + at * kPackedBlock, tile.blocks[at]);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
