#pragma once

// Intel's tile unit (AMX): 8 registers of up to 16 rows of 64 bytes, and products of such tiles.

#include <array>
#include <cstddef>
#include <cstdint>

namespace restkv {

// What ldtilecfg reads. All tiles are of full size unless told otherwise.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows{16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileShapes) == 64);

struct TileUnit {
  bool int8 = false;
  bool bf16 = false;
};

// What the processor has and the system lets this process use. The first call asks the system for
// it, for all threads. Thread-safe.
[[nodiscard]] TileUnit tile_unit();

#if defined(__x86_64__)
// Instructions, by the numbers of their registers. They say that they read memory: the compilers'
// own functions do not, so that what was written before may come after them.
inline void configure_tiles(const TileShapes& shapes) {
  asm volatile("ldtilecfg (%0)" : : "r"(&shapes) : "memory");
}
inline void release_tiles() { asm volatile("tilerelease" : : : "memory"); }
template <int Tile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
}
template <int Tile>
inline void load_tile(const void* rows, std::size_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
               :
               : "r"(rows), "r"(stride_bytes), "i"(Tile)
               : "memory");
}
template <int Tile>
inline void store_tile(void* rows, std::size_t stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
               :
               : "r"(rows), "r"(stride_bytes), "i"(Tile)
               : "memory");
}
// sums[i][j] += a[i][4 k + c] * b[k][4 j + c] over k and c, unsigned bytes a and signed bytes b.
template <int Sums, int A, int B>
inline void add_byte_products() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(A), "i"(B));
}
// sums[i][j] += a[i][2 k + c] * b[k][2 j + c] over k and c, bf16: one sum for each c, from 0 on and
// with a rounding to f32 after each product, then both. Subnormal numbers count as 0.
template <int Sums, int A, int B>
inline void add_bf16_products() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(A), "i"(B));
}
#endif

}  // namespace restkv
