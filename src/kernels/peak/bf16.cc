#include "kernels/peak/bf16.h"

#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
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

struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows{16, 16, 16, 16, 16, 16, 16, 16};
};

__attribute__((target("amx-tile,amx-bf16"))) float tile_loop(std::size_t steps) {
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  alignas(64) std::array<float, 256> sums{};
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, sums.data(), 64);
  _tile_loadd(5, sums.data(), 64);
  _tile_loadd(6, sums.data(), 64);
  _tile_loadd(7, sums.data(), 64);
  for (std::size_t i = 0; i < steps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  float sum = 0;
  _tile_stored(0, sums.data(), 64);
  sum += sums[0];
  _tile_stored(1, sums.data(), 64);
  sum += sums[0];
  _tile_stored(2, sums.data(), 64);
  sum += sums[0];
  _tile_stored(3, sums.data(), 64);
  sum += sums[0];
  _tile_release();
  return sum;
}

// Linux gives the tiles' state only to a process that asks for it (Documentation/arch/x86/xstate).
bool tiles_allowed() {
  constexpr unsigned kTile = 1U << 24U;  // CPUID 7.0 EDX: AMX-TILE
  constexpr unsigned kBf16 = 1U << 22U;  // AMX-BF16
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kTile) == 0 || (d & kBf16) == 0) return false;
  constexpr long kRequestState = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
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
    if (tiles_allowed()) {
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
