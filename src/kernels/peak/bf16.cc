#include "kernels/peak/bf16.h"

#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>

#include "kernels/tile_unit.h"
#endif

namespace restkv {

#if defined(__x86_64__)
namespace {

// ---- AVX-512 -------------------------------------------------------------------------------

// Every lane of a product adds two pairs.
constexpr std::size_t kVectorSums = 8;
constexpr double kVectorOperations = 2.0 * 2.0 * 16.0 * kVectorSums;

__attribute__((target("avx512f,avx512bf16"))) float vector_loop(std::size_t steps) {
  const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));  // 1.0
  const auto zero = reinterpret_cast<__m512bh>(_mm512_setzero_si512());
  __m512 s0 = _mm512_set1_ps(1), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (std::size_t i = 0; i < steps; ++i) {
    s0 = _mm512_dpbf16_ps(s0, factor, zero);
    s1 = _mm512_dpbf16_ps(s1, factor, zero);
    s2 = _mm512_dpbf16_ps(s2, factor, zero);
    s3 = _mm512_dpbf16_ps(s3, factor, zero);
    s4 = _mm512_dpbf16_ps(s4, factor, zero);
    s5 = _mm512_dpbf16_ps(s5, factor, zero);
    s6 = _mm512_dpbf16_ps(s6, factor, zero);
    s7 = _mm512_dpbf16_ps(s7, factor, zero);
  }
  const __m512 sum = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)),
                                   _mm512_add_ps(_mm512_add_ps(s4, s5), _mm512_add_ps(s6, s7)));
  alignas(64) std::array<float, 16> lanes{};
  _mm512_store_ps(lanes.data(), sum);
  return lanes[0];
}

// ---- AMX -----------------------------------------------------------------------------------

// Four tiles of sums, each 16 x 16, against tiles of 16 rows of 32 elements.
constexpr double kTileOperations = 4.0 * 2.0 * 16.0 * 16.0 * 32.0;

float tile_loop(std::size_t steps) {
  const TileShapes shapes;
  configure_tiles(shapes);
  alignas(64) std::array<float, 256> sums{};
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
  load_tile<4>(sums.data(), 64);
  load_tile<5>(sums.data(), 64);
  load_tile<6>(sums.data(), 64);
  load_tile<7>(sums.data(), 64);
  for (std::size_t i = 0; i < steps; ++i) {
    add_bf16_products<0, 4, 6>();
    add_bf16_products<1, 4, 7>();
    add_bf16_products<2, 5, 6>();
    add_bf16_products<3, 5, 7>();
  }
  float sum = 0;
  store_tile<0>(sums.data(), 64);
  sum += sums[0];
  store_tile<1>(sums.data(), 64);
  sum += sums[0];
  store_tile<2>(sums.data(), 64);
  sum += sums[0];
  store_tile<3>(sums.data(), 64);
  sum += sums[0];
  release_tiles();
  return sum;
}

}  // namespace

std::span<const MultiplyLoop> bf16_loops() {
  static const std::vector<MultiplyLoop> kLoops = [] {
    std::vector<MultiplyLoop> loops;
    if (__builtin_cpu_supports("avx512bf16") != 0) {
      loops.push_back({.name = "bf16 AVX-512",
                       .elements = LoopElements::kFloat,
                       .operations_per_step = kVectorOperations,
                       .run = vector_loop});
    }
    if (tile_unit().bf16) {
      loops.push_back({.name = "bf16 AMX",
                       .elements = LoopElements::kFloat,
                       .operations_per_step = kTileOperations,
                       .run = tile_loop});
    }
    return loops;
  }();
  return kLoops;
}

#else

std::span<const MultiplyLoop> bf16_loops() { return {}; }

#endif

}  // namespace restkv
