// Numbers split into several bf16, and products of them by Intel's tile unit (AMX). Compiled for
// the target AVX3; run only where the system lets it (kernels/tile_unit.h).
//
// A row of a tile is 16 pairs of bf16, and which numbers make a pair is free as long as both sides
// agree. Pairs here stand 16 apart, so that splitting two vectors gives two vectors of pairs, with
// no shuffle, and two parts of f32 lie where the f32 was.

#if defined(RESTKV_KERNELS_HWY_BF16_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_BF16_TILES_INL_H_
#undef RESTKV_KERNELS_HWY_BF16_TILES_INL_H_
#else
#define RESTKV_KERNELS_HWY_BF16_TILES_INL_H_
#endif

#include <cstddef>

#include "kernels/hwy/vectors-inl.h"
#include "kernels/tile_unit.h"
#include "kernels/tiles.h"

#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr std::size_t kUnitRows = 16;  // of a tile, each of kLanes pairs or f32
constexpr std::size_t kUnitFloats = kUnitRows * kLanes;
static_assert(kLanes == 16 && kUnitDepth == 2 * kLanes);

// Gives store(p, pairs) part p of a, in the lower halves of `pairs`, and of b: the nearest bf16 of
// what the parts before left. Halfway cases go away from zero. What is infinite, or rounds to it,
// becomes NaN.
template <std::size_t kParts, class Store>
HWY_INLINE void split_pair(Vf a, Vf b, Store store) {
  const U32 du;
  const auto nearest = [du](Vf v) HWY_ATTR {
    return hn::And(hn::Add(hn::BitCast(du, v), hn::Set(du, 0x8000)), hn::Set(du, 0xFFFF0000));
  };
#pragma GCC unroll 3
  for (std::size_t p = 0; p < kParts; ++p) {
    const auto of_a = nearest(a);
    const auto of_b = nearest(b);
    store(p, hn::BitCast(F32(), hn::Or(hn::ShiftRight<16>(of_a), of_b)));
    a = hn::Sub(a, hn::BitCast(F32(), of_a));
    b = hn::Sub(b, hn::BitCast(F32(), of_b));
  }
}

// Of each 32 of `count` rows, 16 become first parts of the pairs and 16 second ones. Third parts go
// to third[count / 2][width].
template <std::size_t kParts>
void split_rows(float* rows, std::size_t count, std::size_t width, float* third) {
  const F32 d;
  for (std::size_t row = 0; row < count; row += kUnitDepth) {
    for (std::size_t i = 0; i < kUnitRows * width; i += kLanes) {
      float* const a = rows + row * width + i;
      float* const b = a + kUnitRows * width;
      float* const to[] = {a, b, kParts == 3 ? third + row * width / 2 + i : nullptr};
      split_pair<kParts>(hn::Load(d, a), hn::Load(d, b), [&](std::size_t part, Vf pairs) HWY_ATTR {
        hn::Store(pairs, d, to[part]);
      });
    }
  }
}

// ---- products ----------------------------------------------------------------------------------
// Registers: sums 0 1 over 2 3, two tiles of the left side 4 5, two of the right side 6 7. With one
// tile of rows 2, 3 and 5 are not used.

template <std::size_t kTiles>
HWY_INLINE void load_left(const float* tile, std::size_t to_next, std::size_t stride) {
  load_tile<4>(tile, stride * sizeof(float));
  if constexpr (kTiles == 2) load_tile<5>(tile + to_next, stride * sizeof(float));
}

HWY_INLINE void load_right(const float* tile, std::size_t stride) {
  load_tile<6>(tile, stride * sizeof(float));
  load_tile<7>(tile + kLanes, stride * sizeof(float));
}

template <std::size_t kTiles>
HWY_INLINE void add_products() {
  add_bf16_products<0, 4, 6>();
  add_bf16_products<1, 4, 7>();
  if constexpr (kTiles == 2) {
    add_bf16_products<2, 5, 6>();
    add_bf16_products<3, 5, 7>();
  }
}

template <std::size_t kTiles>
HWY_INLINE void zero_sums_of_tiles() {
  zero_tile<0>();
  zero_tile<1>();
  if constexpr (kTiles == 2) {
    zero_tile<2>();
    zero_tile<3>();
  }
}

template <std::size_t kTiles>
HWY_INLINE void load_sums(const float* from, std::size_t stride) {
  load_tile<0>(from, stride * sizeof(float));
  load_tile<1>(from + kLanes, stride * sizeof(float));
  if constexpr (kTiles == 2) {
    load_tile<2>(from + kUnitRows * stride, stride * sizeof(float));
    load_tile<3>(from + kUnitRows * stride + kLanes, stride * sizeof(float));
  }
}

template <std::size_t kTiles>
HWY_INLINE void store_sums(float* to, std::size_t stride) {
  store_tile<0>(to, stride * sizeof(float));
  store_tile<1>(to + kLanes, stride * sizeof(float));
  if constexpr (kTiles == 2) {
    store_tile<2>(to + kUnitRows * stride, stride * sizeof(float));
    store_tile<3>(to + kUnitRows * stride + kLanes, stride * sizeof(float));
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

#endif
