// The vectors in which bytes are multiplied in fours: vpdpbusd of AVX-512 VNNI on 512 bits, of
// AVX-VNNI on 256. Compiled for the targets AVX3 and AVX2, each with that one instruction set more
// than the target has: what stands between HWY_PUSH_ATTRIBUTES(RESTKV_FOURS_TARGET) and
// HWY_POP_ATTRIBUTES runs only where the processor has it too (tables.cc).

#if defined(RESTKV_KERNELS_HWY_FOURS_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_FOURS_VECTORS_INL_H_
#undef RESTKV_KERNELS_HWY_FOURS_VECTORS_INL_H_
#else
#define RESTKV_KERNELS_HWY_FOURS_VECTORS_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

#include "kernels/packed.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#include <immintrin.h>

#undef RESTKV_FOURS_TARGET
#if HWY_TARGET == HWY_AVX3
#define RESTKV_FOURS_TARGET HWY_TARGET_STR_AVX3 ",avx512vnni"
#else
#define RESTKV_FOURS_TARGET HWY_TARGET_STR_AVX2 ",avxvnni"
#endif

HWY_PUSH_ATTRIBUTES(RESTKV_FOURS_TARGET)
namespace restkv::HWY_NAMESPACE {
namespace {

// Panels side by side in a vector, and the rows of weights that it so has.
inline constexpr std::size_t kPanelsAbreast = HWY_TARGET == HWY_AVX3 ? 2 : 1;
inline constexpr std::size_t kStripRows = kPanelsAbreast * kPanelRows;

HWY_INLINE std::int32_t four_bytes(const void* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// sum + the products of unsigned and signed bytes, in fours.
HWY_INLINE __m256i add_fours(__m256i sum, __m256i bytes, __m256i signed_bytes) {
#if HWY_TARGET == HWY_AVX3
  return _mm256_dpbusd_epi32(sum, bytes, signed_bytes);
#else
  return _mm256_dpbusd_avx_epi32(sum, bytes, signed_bytes);
#endif
}

#if HWY_TARGET == HWY_AVX3

using StripInts = __m512i;
using StripFloats = __m512;
HWY_INLINE StripInts add_fours(StripInts sum, StripInts bytes, StripInts signed_bytes) {
  return _mm512_dpbusd_epi32(sum, bytes, signed_bytes);
}
HWY_INLINE StripInts strip_zeros() { return _mm512_setzero_si512(); }
HWY_INLINE StripInts strip_of(std::int32_t word) { return _mm512_set1_epi32(word); }
HWY_INLINE StripInts load_ints(const void* p) { return _mm512_load_si512(p); }
HWY_INLINE StripInts add_ints(StripInts a, StripInts b) { return _mm512_add_epi32(a, b); }
HWY_INLINE StripInts multiply_ints(StripInts a, StripInts b) { return _mm512_mullo_epi32(a, b); }
HWY_INLINE StripFloats to_floats(StripInts v) { return _mm512_cvtepi32_ps(v); }
HWY_INLINE StripFloats floats_of(float x) { return _mm512_set1_ps(x); }
HWY_INLINE StripFloats load_floats(const float* p) { return _mm512_load_ps(p); }
HWY_INLINE StripFloats multiply_floats(StripFloats a, StripFloats b) { return _mm512_mul_ps(a, b); }
HWY_INLINE StripFloats multiply_add(StripFloats a, StripFloats b, StripFloats c) {
  return _mm512_fmadd_ps(a, b, c);
}
// The first n floats; the rest is not touched, or 0.
HWY_INLINE StripFloats load_some(const float* p, std::size_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1), p);
}
HWY_INLINE void store_some(StripFloats v, float* p, std::size_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1), v);
}
HWY_INLINE StripFloats add_floats(StripFloats a, StripFloats b) { return _mm512_add_ps(a, b); }

#else

using StripInts = __m256i;
using StripFloats = __m256;
HWY_INLINE StripInts strip_zeros() { return _mm256_setzero_si256(); }
HWY_INLINE StripInts strip_of(std::int32_t word) { return _mm256_set1_epi32(word); }
HWY_INLINE StripInts load_ints(const void* p) {
  return _mm256_load_si256(static_cast<const __m256i*>(p));
}
HWY_INLINE StripInts add_ints(StripInts a, StripInts b) { return _mm256_add_epi32(a, b); }
HWY_INLINE StripInts multiply_ints(StripInts a, StripInts b) { return _mm256_mullo_epi32(a, b); }
HWY_INLINE StripFloats to_floats(StripInts v) { return _mm256_cvtepi32_ps(v); }
HWY_INLINE StripFloats floats_of(float x) { return _mm256_set1_ps(x); }
HWY_INLINE StripFloats load_floats(const float* p) { return _mm256_load_ps(p); }
HWY_INLINE StripFloats multiply_floats(StripFloats a, StripFloats b) { return _mm256_mul_ps(a, b); }
HWY_INLINE StripFloats multiply_add(StripFloats a, StripFloats b, StripFloats c) {
  return _mm256_fmadd_ps(a, b, c);
}
HWY_INLINE __m256i first_lanes(std::size_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
// The first n floats; the rest is not touched, or 0.
HWY_INLINE StripFloats load_some(const float* p, std::size_t n) {
  return _mm256_maskload_ps(p, first_lanes(n));
}
HWY_INLINE void store_some(StripFloats v, float* p, std::size_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), v);
}
HWY_INLINE StripFloats add_floats(StripFloats a, StripFloats b) { return _mm256_add_ps(a, b); }

#endif

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#endif

#endif
