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
#include <cstdint>

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

// Query heads of one product where one token asks: of decode and of its choice of blocks.
constexpr std::size_t kMostHeads = kManyRegisters ? 8 : 6;

// Calls body(first, count) for the fewest parts of n that are no longer than `most`, all of about
// one length. With 16 registers 7 heads are 4 + 3, not 6 + 1: a product of few rows waits for its
// own sums.
template <class Body>
HWY_INLINE void for_each_part(std::size_t n, std::size_t most, Body body) {
  std::size_t first = 0;
  for (std::size_t parts = (n + most - 1) / most; parts > 0; --parts) {
    const std::size_t count = (n - first + parts - 1) / parts;
    body(first, count);
    first += count;
  }
}

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
struct Bf16Columns {
  const std::uint16_t* data;
  std::size_t stride;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return load_bf16(reinterpret_cast<const std::byte*>(data + k * stride + v * kLanes));
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
struct Bf16Rows {
  const std::byte* const* rows;
  std::size_t column;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return load_bf16(rows[k] + 2 * (column + v * kLanes));
  }
};

// Signed integers of 16 bits, widened on the way.
struct ShortColumns {
  const std::uint16_t* data;
  std::size_t stride;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    const auto* const at = reinterpret_cast<const std::int16_t*>(data + k * stride + v * kLanes);
    const hn::Rebind<std::int16_t, F32> d16;
    return hn::ConvertTo(F32(), hn::PromoteTo(I32(), hn::LoadU(d16, at)));
  }
};
// Signed bytes where the cache holds them, `offset` bytes into their rows, without their scales.
struct ByteRows {
  const std::byte* const* rows;
  std::size_t offset;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    const auto* const at = reinterpret_cast<const std::int8_t*>(rows[k] + offset + v * kLanes);
    const hn::Rebind<std::int8_t, F32> d8;
    return hn::ConvertTo(F32(), hn::PromoteTo(I32(), hn::LoadU(d8, at)));
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

// The same sums, and other work beside them: calls beside() before every kBesideStep products.
constexpr std::size_t kBesideStep = 8;
template <std::size_t kRows, std::size_t kVectors, class Left, class Right, class Beside>
HWY_INLINE void multiply(Left left, Right right, std::size_t depth, Sums<kRows, kVectors>& result,
                         Beside beside) {
  Sums<kRows, kVectors> sums = result;
  const std::size_t whole = depth / kBesideStep * kBesideStep;
  for (std::size_t k = 0; k < whole; k += kBesideStep) {
    beside();
    multiply_part(left, right, k, k + kBesideStep, sums);
  }
  if (whole < depth) {
    beside();
    multiply_part(left, right, whole, depth, sums);
  }
  result = sums;
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
