// Vectors of f32 and the functions of them that Highway leaves to us. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_VECTORS_INL_H_
#undef RESTKV_KERNELS_HWY_VECTORS_INL_H_
#else
#define RESTKV_KERNELS_HWY_VECTORS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using Vf = hn::Vec<F32>;

// Targets whose vectors have no size at compile time are not built (tables.cc).
constexpr std::size_t kLanes = hn::MaxLanes(F32());

HWY_INLINE Vf all(float x) { return hn::Set(F32(), x); }
HWY_INLINE float sum_of(Vf v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }
HWY_INLINE float max_of(Vf v) { return hn::GetLane(hn::MaxOfLanes(F32(), v)); }

// exp(x) for x <= 88.3: 2^n * e^r with |r| <= ln(2) / 2, e^r by the polynomial of degree 5 with the
// least largest relative error (1.1e-7) among those that give exp(0) = 1. Relative error <= 3e-7
// from -87.3 on; 0 below; NaN of NaN, for what is no number must not pass for a row of no
// weight. Each step waits for the one before, so kCount vectors go step by step
// together.
template <std::size_t kCount>
HWY_INLINE void exp_each_at_most_88(Vf* x) {
  const U32 du;
  // A number so large that adding it rounds to an integer, which then stands in the lowest bits.
  const Vf rounder = all(12582912.0F);
  Vf rounded[kCount];
  Vf r[kCount];
  Vf p[kCount];
  for (std::size_t i = 0; i < kCount; ++i) {
    rounded[i] = hn::MulAdd(x[i], all(1.44269504F), rounder);
  }
  // ln(2) in two parts: the first has few bits, so that n * part is exact.
  for (std::size_t i = 0; i < kCount; ++i) {
    r[i] = hn::NegMulAdd(hn::Sub(rounded[i], rounder), all(0.693359375F), x[i]);
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    r[i] = hn::NegMulAdd(hn::Sub(rounded[i], rounder), all(-2.12194440e-4F), r[i]);
  }
  for (std::size_t i = 0; i < kCount; ++i)
    p[i] = hn::MulAdd(all(0.00831252F), r[i], all(0.0418902F));
  for (std::size_t i = 0; i < kCount; ++i) p[i] = hn::MulAdd(p[i], r[i], all(0.16667115F));
  for (std::size_t i = 0; i < kCount; ++i) p[i] = hn::MulAdd(p[i], r[i], all(0.49999231F));
  for (std::size_t i = 0; i < kCount; ++i) {
    p[i] = hn::MulAdd(hn::Mul(r[i], r[i]), p[i], hn::Add(r[i], all(1.0F)));
  }
  // 2^n by the exponent of p; p is above 1 where the result is next to the smallest normal number.
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto n_in_exponent = hn::ShiftLeft<23>(hn::BitCast(du, rounded[i]));
    const Vf product = hn::BitCast(F32(), hn::Add(hn::BitCast(du, p[i]), n_in_exponent));
    x[i] = hn::IfThenZeroElse(hn::Le(x[i], all(-87.3F)), product);
  }
}
HWY_INLINE Vf exp_at_most_88(Vf x) {
  exp_each_at_most_88<1>(&x);
  return x;
}

// As above for every x; clamped above 88.3. (Of a NaN and a number x86's minimum is the second.)
HWY_INLINE Vf exp(Vf x) { return exp_at_most_88(hn::Min(all(88.3F), x)); }

// tanh(x): an odd polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel. Relative error <= 5e-7.
HWY_INLINE Vf tanh(Vf x) {
  const Vf square = hn::Mul(x, x);
  Vf p = hn::MulAdd(all(0.01519514F), square, all(-0.05194775F));
  p = hn::MulAdd(p, square, all(0.13308172F));
  p = hn::MulAdd(p, square, all(-0.33332341F));
  const Vf near = hn::MulAdd(hn::Mul(x, square), p, x);
  const Vf e = exp(hn::Add(x, x));
  const Vf far = hn::Sub(all(1.0F), hn::Div(all(2.0F), hn::Add(e, all(1.0F))));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), all(0.625F)), near, far);
}

// Highway converts f16 with instructions from AVX2 on; its replacement for SSE4 truncates.
constexpr bool kConvertsF16 = HWY_TARGET != HWY_SSE4;

// The next kLanes halves, as f32.
HWY_INLINE Vf load_f16(const std::byte* p) {
  if constexpr (kConvertsF16) {
    const hn::Rebind<hwy::float16_t, F32> dh;
    return hn::PromoteTo(F32(), hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p)));
  } else {
    // Moves the bits into place and corrects the exponent by a product, which is exact and also
    // normalises subnormals. Only infinity and NaN need their exponent set.
    const U32 du;
    const hn::Rebind<std::uint16_t, F32> dh;
    const auto bits = hn::PromoteTo(du, hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(p)));
    const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7FFF)));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000)));
    const Vf scaled = hn::Mul(hn::BitCast(F32(), magnitude), all(0x1p112F));
    const auto special = hn::Ge(hn::BitCast(F32(), magnitude), all(0x1p-112F * 65536.0F));
    const auto exponent = hn::IfThenElseZero(hn::RebindMask(du, special), hn::Set(du, 0x7F800000));
    return hn::BitCast(F32(), hn::Or(hn::Or(hn::BitCast(du, scaled), exponent), sign));
  }
}

// The next kLanes bf16, as f32.
HWY_INLINE Vf load_bf16(const std::byte* p) {
  const U32 du;
  const hn::Rebind<std::uint16_t, F32> dh;
  const auto bits = hn::PromoteTo(du, hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(bits));
}

// The next kLanes f32 at any address.
HWY_INLINE Vf load_f32(const std::byte* p) {
  return hn::LoadU(F32(), reinterpret_cast<const float*>(p));
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
