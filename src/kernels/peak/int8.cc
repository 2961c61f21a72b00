#include "kernels/peak/int8.h"

#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>
#include <cstdint>

#include "kernels/tile_unit.h"
#endif

namespace restkv {

#if defined(__x86_64__)
namespace {

constexpr std::size_t kSums = 12;  // enough to hide the latency

// 32 products, added in twos into 16 bits and then to what is there. Sums, products on their way
// and the factor share 16 registers.
constexpr std::size_t kPairSums = 10;
constexpr double kPairOperations = 2.0 * 32.0 * kPairSums;

__attribute__((target("avx2"))) float pair_loop(std::size_t steps) {
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i s0 = _mm256_set1_epi8(0), s1 = _mm256_set1_epi8(1), s2 = _mm256_set1_epi8(2),
          s3 = _mm256_set1_epi8(3), s4 = _mm256_set1_epi8(4), s5 = _mm256_set1_epi8(5),
          s6 = _mm256_set1_epi8(6), s7 = _mm256_set1_epi8(7), s8 = _mm256_set1_epi8(8),
          s9 = _mm256_set1_epi8(9);
  for (std::size_t i = 0; i < steps; ++i) {
    s0 = _mm256_add_epi16(s0, _mm256_maddubs_epi16(s0, ones));
    s1 = _mm256_add_epi16(s1, _mm256_maddubs_epi16(s1, ones));
    s2 = _mm256_add_epi16(s2, _mm256_maddubs_epi16(s2, ones));
    s3 = _mm256_add_epi16(s3, _mm256_maddubs_epi16(s3, ones));
    s4 = _mm256_add_epi16(s4, _mm256_maddubs_epi16(s4, ones));
    s5 = _mm256_add_epi16(s5, _mm256_maddubs_epi16(s5, ones));
    s6 = _mm256_add_epi16(s6, _mm256_maddubs_epi16(s6, ones));
    s7 = _mm256_add_epi16(s7, _mm256_maddubs_epi16(s7, ones));
    s8 = _mm256_add_epi16(s8, _mm256_maddubs_epi16(s8, ones));
    s9 = _mm256_add_epi16(s9, _mm256_maddubs_epi16(s9, ones));
  }
  return static_cast<float>(_mm256_extract_epi16(
      _mm256_xor_si256(
          _mm256_xor_si256(
              _mm256_xor_si256(
                  _mm256_xor_si256(
                      _mm256_xor_si256(
                          _mm256_xor_si256(
                              _mm256_xor_si256(_mm256_xor_si256(_mm256_xor_si256(s0, s1), s2), s3),
                              s4),
                          s5),
                      s6),
                  s7),
              s8),
          s9),
      0));
}

// 32 or 64 products, added in fours to the 32 bits that are there.
constexpr double kHalfFourOperations = 2.0 * 32.0 * kSums;
constexpr double kFourOperations = 2.0 * 64.0 * kSums;

// Written as it is to run: the compiler stores half of the sums in every step.
__attribute__((target("avx2,avxvnni"))) float half_four_loop(std::size_t steps) {
  const __m256i zeros = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi32(0x01010101);
  __m256i s0 = _mm256_set1_epi32(0), s1 = _mm256_set1_epi32(1), s2 = _mm256_set1_epi32(2),
          s3 = _mm256_set1_epi32(3), s4 = _mm256_set1_epi32(4), s5 = _mm256_set1_epi32(5),
          s6 = _mm256_set1_epi32(6), s7 = _mm256_set1_epi32(7), s8 = _mm256_set1_epi32(8),
          s9 = _mm256_set1_epi32(9), s10 = _mm256_set1_epi32(10), s11 = _mm256_set1_epi32(11);
  for (std::size_t i = 0; i < steps; ++i) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s0) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s1) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s2) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s3) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s4) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s5) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s6) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s7) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s8) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s9) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s10) : "x"(zeros), "x"(ones));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s11) : "x"(zeros), "x"(ones));
  }
  return static_cast<float>(_mm256_extract_epi32(
      _mm256_xor_si256(
          _mm256_xor_si256(
              _mm256_xor_si256(
                  _mm256_xor_si256(
                      _mm256_xor_si256(
                          _mm256_xor_si256(
                              _mm256_xor_si256(
                                  _mm256_xor_si256(
                                      _mm256_xor_si256(
                                          _mm256_xor_si256(_mm256_xor_si256(s0, s1), s2), s3),
                                      s4),
                                  s5),
                              s6),
                          s7),
                      s8),
                  s9),
              s10),
          s11),
      0));
}

__attribute__((target("avx512f,avx512vnni"))) float four_loop(std::size_t steps) {
  const __m512i zeros = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi32(0x01010101);
  __m512i sums[kSums];
  for (std::size_t i = 0; i < kSums; ++i) sums[i] = _mm512_set1_epi32(static_cast<int>(i));
  for (std::size_t i = 0; i < steps; ++i) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, zeros, ones);
  }
  __m512i all = sums[0];
  for (const __m512i& sum : sums) all = _mm512_xor_si512(all, sum);
  alignas(64) std::array<std::int32_t, 16> lanes{};
  _mm512_store_si512(lanes.data(), all);
  return static_cast<float>(lanes[0]);
}

// Four tiles of sums, each 16 x 16, against tiles of 16 rows of 64 bytes.
constexpr double kTileOperations = 4.0 * 2.0 * 16.0 * 16.0 * 64.0;

float tile_loop(std::size_t steps) {
  const TileShapes shapes;
  configure_tiles(shapes);
  alignas(64) std::array<std::int32_t, 256> bytes{};
  bytes.fill(0x01010101);
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
  load_tile<4>(bytes.data(), 64);
  load_tile<5>(bytes.data(), 64);
  load_tile<6>(bytes.data(), 64);
  load_tile<7>(bytes.data(), 64);
  for (std::size_t i = 0; i < steps; ++i) {
    add_byte_products<0, 4, 6>();
    add_byte_products<1, 4, 7>();
    add_byte_products<2, 5, 6>();
    add_byte_products<3, 5, 7>();
  }
  std::int64_t sum = 0;
  store_tile<0>(bytes.data(), 64);
  sum += bytes[0];
  store_tile<1>(bytes.data(), 64);
  sum += bytes[0];
  store_tile<2>(bytes.data(), 64);
  sum += bytes[0];
  store_tile<3>(bytes.data(), 64);
  sum += bytes[0];
  release_tiles();
  return static_cast<float>(sum);
}

}  // namespace

std::span<const MultiplyLoop> int8_loops() {
  static const std::vector<MultiplyLoop> kLoops = [] {
    std::vector<MultiplyLoop> loops;
    const auto add = [&loops](std::string_view name, double operations, float (*run)(std::size_t)) {
      loops.push_back({.name = name,
                       .elements = LoopElements::kInt8,
                       .operations_per_step = operations,
                       .run = run});
    };
    if (__builtin_cpu_supports("avx2") != 0) add("int8 AVX2", kPairOperations, pair_loop);
    if (__builtin_cpu_supports("avxvnni") != 0) {
      add("int8 AVX-VNNI", kHalfFourOperations, half_four_loop);
    }
    if (__builtin_cpu_supports("avx512vnni") != 0) {
      add("int8 AVX-512 VNNI", kFourOperations, four_loop);
    }
    if (tile_unit().int8) add("int8 AMX", kTileOperations, tile_loop);
    return loops;
  }();
  return kLoops;
}

#else

std::span<const MultiplyLoop> int8_loops() { return {}; }

#endif

}  // namespace restkv
