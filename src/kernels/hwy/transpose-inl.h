// Turning rows of the cache into columns for a product, in registers. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_TRANSPOSE_INL_H_
#undef RESTKV_KERNELS_HWY_TRANSPOSE_INL_H_
#else
#define RESTKV_KERNELS_HWY_TRANSPOSE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/hwy/tiles-inl.h"
#include "kernels/hwy/types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// A vector whose 128-bit block b holds row[4 * b * stride .. + 3].
template <class D>
HWY_INLINE hn::Vec<D> gather_blocks(D d, const float* row, std::size_t stride) {
  if constexpr (hn::MaxLanes(d) <= 4) {
    return hn::LoadU(d, row);
  } else {
    const hn::Half<D> dh;
    const auto lower = gather_blocks(dh, row, stride);
    return hn::Combine(d, gather_blocks(dh, row + hn::MaxLanes(dh) * stride, stride), lower);
  }
}

// 8 elements of rows[8 * b] from `offset` bytes on, for b = 0, 1 .., one after the other.
template <class D>
HWY_INLINE hn::Vec<D> gather_eights(D d, const std::byte* const* rows, std::size_t offset) {
  if constexpr (hn::MaxLanes(d) <= 8) {
    return hn::LoadU(d, reinterpret_cast<const hn::TFromD<D>*>(rows[0] + offset));
  } else {
    const hn::Half<D> dh;
    const auto lower = gather_eights(dh, rows, offset);
    return hn::Combine(d, gather_eights(dh, rows + hn::MaxLanes(dh), offset), lower);
  }
}

// panel[column * width + row] = rows[row * dim + column], for `width` rows, a multiple of kLanes.
// Works on 4 x 4 squares, one in each 128-bit block. REQUIRES: dim is a multiple of 4.
HWY_INLINE void transpose(const float* rows, std::size_t dim, std::size_t width, float* panel) {
  const F32 d;
  const hn::Repartition<double, F32> pairs;
  for (std::size_t first = 0; first < width; first += kLanes) {
    for (std::size_t column = 0; column < dim; column += 4) {
      const float* const corner = rows + first * dim + column;
      const auto r0 = gather_blocks(d, corner, dim);
      const auto r1 = gather_blocks(d, corner + dim, dim);
      const auto r2 = gather_blocks(d, corner + 2 * dim, dim);
      const auto r3 = gather_blocks(d, corner + 3 * dim, dim);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      float* const to = panel + column * width + first;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * width);
    }
  }
}

// Rows of 16 bits, r[i] with rows i, i + 8 .. in its 128-bit blocks: gives store(column, vector)
// the elements of each of the 8 columns from `column` on, in order of rows. Works on squares of
// 8 x 8, one in each block.
template <class V16, class Store>
HWY_INLINE void transpose_squares(const V16* r, std::size_t column, Store store) {
  const hn::Repartition<std::uint16_t, F32> d16;
  const hn::Repartition<std::uint32_t, F32> d32;
  const hn::Repartition<std::uint64_t, F32> d64;
  hn::Vec<decltype(d32)> pairs[8];  // rows (2i, 2i + 1), columns 0..3, then 4..7
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    pairs[i] = hn::BitCast(d32, hn::InterleaveLower(d16, r[2 * i], r[2 * i + 1]));
    pairs[4 + i] = hn::BitCast(d32, hn::InterleaveUpper(d16, r[2 * i], r[2 * i + 1]));
  }
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 8; half += 4) {  // columns 0..3, then 4..7
    const auto* const p = pairs + half;
    const hn::Vec<decltype(d64)> fours[4] = {
        hn::BitCast(d64, hn::InterleaveLower(d32, p[0], p[1])),
        hn::BitCast(d64, hn::InterleaveLower(d32, p[2], p[3])),
        hn::BitCast(d64, hn::InterleaveUpper(d32, p[0], p[1])),
        hn::BitCast(d64, hn::InterleaveUpper(d32, p[2], p[3]))};
#pragma GCC unroll 2
    for (std::size_t i = 0; i < 4; i += 2) {
      store(column + half + i, hn::BitCast(d16, hn::InterleaveLower(d64, fours[i], fours[i + 1])));
      store(column + half + i + 1,
            hn::BitCast(d16, hn::InterleaveUpper(d64, fours[i], fours[i + 1])));
    }
  }
}

// transpose_squares of 8 columns of kPanel rows in f16 or bf16.
template <class Store>
HWY_INLINE void transpose_eight(const std::byte* const* rows, std::size_t column, Store store) {
  const hn::Repartition<std::uint16_t, F32> d16;
  hn::Vec<decltype(d16)> r[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) r[i] = gather_eights(d16, rows + i, 2 * column);
  transpose_squares(r, column, store);
}

// The same for all `dim` columns. REQUIRES: dim is a multiple of 8.
template <class Store>
HWY_INLINE void transpose_halves(const std::byte* const* rows, std::size_t dim, Store store) {
  for (std::size_t column = 0; column < dim; column += 8) transpose_eight(rows, column, store);
}

// transpose_squares of 8 columns of kPanel rows of signed bytes, which lie at `offset` in their
// rows, as 16 bits.
template <class Store>
HWY_INLINE void transpose_eight_bytes(const std::byte* const* rows, std::size_t offset,
                                      std::size_t column, Store store) {
  const hn::Repartition<std::int16_t, F32> ds16;
  const hn::Repartition<std::uint16_t, F32> d16;
  const hn::Rebind<std::int8_t, decltype(ds16)> d8;
  hn::Vec<decltype(d16)> r[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    r[i] = hn::BitCast(d16, hn::PromoteTo(ds16, gather_eights(d8, rows + i, offset)));
  }
  transpose_squares(r, column, store);
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
