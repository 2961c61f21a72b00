// The matrix product under all attention: a few rows of the left side times two vectors of columns,
// with every sum in a register. Compiled once per target.
//
// Why this shape: with R rows and 2 vectors a step loads 2 vectors and R scalars for 2R products,
// and 2R sums hide the latency of the fused multiply-add. R = 6 fills 16 registers, R = 12
// fills 32. Precision: f32, each sum in the order of k, whatever else is in the tile.

#if defined(RESTKV_KERNELS_HWY_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_TILES_INL_H_
#undef RESTKV_KERNELS_HWY_TILES_INL_H_
#else
#define RESTKV_KERNELS_HWY_TILES_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "kernels/hwy/types-inl.h"
#include "kernels/hwy/vectors-inl.h"
#include "kernels/kernels.h"
#include "kernels/tiles.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL;
constexpr std::size_t kTileRows = kManyRegisters ? 12 : 6;
constexpr std::size_t kPanel = 2 * kLanes;  // columns of a tile
static_assert(kKeyTile % kPanel == 0 && kQueryPadding % kTileRows == 0 &&
              kLineFloats % kLanes == 0);

constexpr std::size_t kMostHeads = kManyRegisters ? 8 : 6;  // query heads of one product in decode
// With 16 registers 7 heads are 4 + 3, not 6 + 1: a product of few rows waits for its own sums.
constexpr std::size_t parts_of(std::size_t group) { return (group + kMostHeads - 1) / kMostHeads; }

// The left side, k after k, with the rows of a tile side by side.
struct Interleaved {
  const float* data;
  HWY_INLINE float operator()(std::size_t row, std::size_t k) const {
    return data[k * kTileRows + row];
  }
};
// The left side, row after row.
struct RowMajor {
  const float* data;
  std::size_t stride;
  HWY_INLINE float operator()(std::size_t row, std::size_t k) const {
    return data[row * stride + k];
  }
};

// The right side: vector v of row k as f32.
struct FloatColumns {
  const float* data;
  std::size_t stride;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return hn::LoadU(F32(), data + k * stride + v * kLanes);
  }
};
// f16, widened on the way: beside the multiply-adds that costs next to nothing, and the tile is
// half as large.
struct HalfColumns {
  const std::uint16_t* data;
  std::size_t stride;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return load_f16(reinterpret_cast<const std::byte*>(data + k * stride + v * kLanes));
  }
};
// f16 where the cache holds it, from `column` on.
struct HalfRows {
  const std::byte* const* rows;
  std::size_t column;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return load_f16(rows[k] + 2 * (column + v * kLanes));
  }
};

// The sums of a tile.
template <std::size_t kRows, std::size_t kVectors>
struct Sums {
  Vf at[kRows][kVectors];
};

template <std::size_t kRows, std::size_t kVectors>
HWY_INLINE Sums<kRows, kVectors> zero_sums() {
  Sums<kRows, kVectors> sums;
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) sums.at[r][v] = hn::Zero(F32());
  }
  return sums;
}

// sums[r][v] += sum over begin <= k < end of left(r, k) * right(k, v).
template <std::size_t kRows, std::size_t kVectors, class Left, class Right>
HWY_INLINE void multiply_part(Left left, Right right, std::size_t begin, std::size_t end,
                              Sums<kRows, kVectors>& sums) {
  for (std::size_t k = begin; k < end; ++k) {
    // The shorter side waits in registers, the longer one passes through a single one.
    if constexpr (kVectors > kRows) {
      Vf factors[kRows];
#pragma GCC unroll 12
      for (std::size_t r = 0; r < kRows; ++r) factors[r] = all(left(r, k));
#pragma GCC unroll 8
      for (std::size_t v = 0; v < kVectors; ++v) {
        const Vf columns = right(k, v);
#pragma GCC unroll 12
        for (std::size_t r = 0; r < kRows; ++r) {
          sums.at[r][v] = hn::MulAdd(factors[r], columns, sums.at[r][v]);
        }
      }
    } else {
      Vf columns[kVectors];
      for (std::size_t v = 0; v < kVectors; ++v) columns[v] = right(k, v);
#pragma GCC unroll 12
      for (std::size_t r = 0; r < kRows; ++r) {
        const Vf factor = all(left(r, k));
        for (std::size_t v = 0; v < kVectors; ++v) {
          sums.at[r][v] = hn::MulAdd(factor, columns[v], sums.at[r][v]);
        }
      }
    }
  }
}

// sums[r][v] += sum over k < depth of left(r, k) * right(k, v).
template <std::size_t kRows, std::size_t kVectors, class Left, class Right>
HWY_INLINE void multiply(Left left, Right right, std::size_t depth, Sums<kRows, kVectors>& result) {
  Sums<kRows, kVectors> sums = result;  // a copy that the compiler can keep in registers
  multiply_part(left, right, 0, depth, sums);
  result = sums;
}

// The same sums, and other work beside them: calls beside(k) before the products of each
// k = 0, kBesideStep .. < depth. The multiply-adds leave units of the processor free for it.
constexpr std::size_t kBesideStep = 8;
template <std::size_t kRows, std::size_t kVectors, class Left, class Right, class Beside>
HWY_INLINE void multiply(Left left, Right right, std::size_t depth, Sums<kRows, kVectors>& result,
                         Beside beside) {
  Sums<kRows, kVectors> sums = result;
  std::size_t k = 0;
  for (; k + kBesideStep <= depth; k += kBesideStep) {
    beside(k);
    multiply_part(left, right, k, k + kBesideStep, sums);
  }
  if (k < depth) beside(k);
  multiply_part(left, right, k, depth, sums);
  result = sums;
}

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

// A vector whose 128-bit block b holds 16 bytes of rows[8 * b] from `offset` on.
template <class D>
HWY_INLINE hn::Vec<D> gather_halves(D d, const std::byte* const* rows, std::size_t offset) {
  if constexpr (hn::MaxLanes(d) <= 8) {
    return hn::LoadU(d, reinterpret_cast<const std::uint16_t*>(rows[0] + offset));
  } else {
    const hn::Half<D> dh;
    const auto lower = gather_halves(dh, rows, offset);
    return hn::Combine(d, gather_halves(dh, rows + hn::MaxLanes(dh), offset), lower);
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

// Halves of a full vector of 16-bit elements, as f32.
template <class V16>
HWY_INLINE Vf widen(KvType type, V16 halves) {
  if (type == KvType::kBf16) {
    const U32 du;
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(du, halves)));
  }
  return hn::PromoteTo(F32(), hn::BitCast(Narrow<hwy::float16_t>(), halves));
}

// Gives store(column, vector) the elements of a column of kPanel rows of 16 bits, in order of rows,
// for each of 8 columns from `column` on. Works on squares of 8 x 8, one in each 128-bit block.
template <class Store>
HWY_INLINE void transpose_eight(const std::byte* const* rows, std::size_t column, Store store) {
  const hn::Repartition<std::uint16_t, F32> d16;
  const hn::Repartition<std::uint32_t, F32> d32;
  const hn::Repartition<std::uint64_t, F32> d64;
  hn::Vec<decltype(d16)> r[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) r[i] = gather_halves(d16, rows + i, 2 * column);
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

// The same for all `dim` columns. REQUIRES: dim is a multiple of 8.
template <class Store>
HWY_INLINE void transpose_halves(const std::byte* const* rows, std::size_t dim, Store store) {
  for (std::size_t column = 0; column < dim; column += 8) transpose_eight(rows, column, store);
}

// panel[column * stride + row] = rows[row][column] as f32, for kPanel rows of f16 or bf16. Widens
// last: half the moves of transpose(). REQUIRES: kConvertsF16, dim is a multiple of 8.
HWY_INLINE void widen_transposed(KvType type, const std::byte* const* rows, std::size_t dim,
                                 std::size_t stride, float* panel) {
  const hn::Half<hn::Repartition<std::uint16_t, F32>> dh;
  transpose_halves(rows, dim, [type, stride, panel, dh](std::size_t column, auto halves) HWY_ATTR {
    float* const to = panel + column * stride;
    hn::StoreU(widen(type, hn::LowerHalf(dh, halves)), F32(), to);
    hn::StoreU(widen(type, hn::UpperHalf(dh, halves)), F32(), to + kLanes);
  });
}

// A row of any type as f32, padded with zeros to `dim` elements.
HWY_INLINE void expand_row(KvType type, const std::byte* row, std::size_t head_dim, std::size_t dim,
                           float* out) {
  if (type == KvType::kF32) {
    std::copy_n(reinterpret_cast<const float*>(row), head_dim, out);
  } else {
    decode_row(type, row, out, head_dim);
  }
  std::fill(out + head_dim, out + dim, 0.0F);
}

// Rows [first, first + count) of `rows` as f32, [count, dim]. Those outside [begin, end) are not
// read and become zero.
HWY_INLINE void expand_rows(TypedRows rows, std::size_t first, std::size_t count, std::size_t begin,
                            std::size_t end, std::size_t head_dim, std::size_t dim, float* out) {
  const std::size_t row_bytes = kv_row_bytes(rows.type, head_dim);
  for (std::size_t i = 0; i < count; ++i) {
    float* const to = out + i * dim;
    if (first + i < begin || first + i >= end) {
      std::fill_n(to, dim, 0.0F);
    } else {
      expand_row(rows.type, rows.data + (first + i) * row_bytes, head_dim, dim, to);
    }
  }
}

HWY_INLINE Vf softcap(Vf scaled, float cap) { return hn::Mul(all(cap), tanh(scaled)); }

// What a product q.k is multiplied by, so that either the product or softcap() of it is the logit.
HWY_INLINE float product_scale(const AttentionRule& rule) {
  return rule.softcap > 0.0F ? rule.scale / rule.softcap : rule.scale;
}

// A logit that no softmax sees, and where a running maximum starts: between it and all others.
constexpr float kHidden = -3.0e38F;
constexpr float kLowestLogit = -1.0e37F;

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
