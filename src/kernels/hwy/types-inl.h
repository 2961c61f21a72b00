// Rows of f32 to and from the cache's element types, the same bits as kernels/element_types.h
// gives. Compiled once per target, and without contraction of a * b + c, which would round
// differently.

#if defined(RESTKV_KERNELS_HWY_TYPES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_TYPES_INL_H_
#undef RESTKV_KERNELS_HWY_TYPES_INL_H_
#else
#define RESTKV_KERNELS_HWY_TYPES_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/element_types.h"
#include "kernels/hwy/vectors-inl.h"
#include "kernels/ref/operations.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

using element::kQ4Bytes;
using element::kQ8Bytes;
using element::kScaleBytes;

template <class T>
using Narrow = hn::Rebind<T, F32>;  // as many elements of T as a vector has of f32

// element::f32_to_f16 on vectors.
HWY_INLINE hn::Vec<U32> f16_bits_of(Vf v) {
  const U32 du;
  const auto bits = hn::BitCast(du, v);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFF));
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1));
  const auto rebiased = hn::Sub(magnitude, hn::Set(du, 0x38000000 - 0xFFF));
  const auto normal = hn::ShiftRight<13>(hn::Add(rebiased, odd));
  const Vf shifted = hn::Add(hn::BitCast(F32(), magnitude), all(0.5F));
  const auto subnormal = hn::Sub(hn::BitCast(du, shifted), hn::Set(du, 0x3F000000));
  const Vf size = hn::Abs(v);
  const auto is_small = hn::RebindMask(du, hn::Lt(size, all(0x1p-14F)));
  const auto is_finite = hn::RebindMask(du, hn::Lt(size, all(65520.0F)));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  auto half = hn::IfThenElse(is_small, subnormal, normal);
  half = hn::IfThenElse(is_finite, half, hn::Set(du, 0x7C00));
  return hn::Or(hn::IfThenElse(is_nan, hn::Set(du, 0x7E00), half), sign);
}

HWY_INLINE void store_narrow(hn::Vec<U32> bits, std::byte* out) {
  const auto halves = hn::DemoteTo(Narrow<std::uint16_t>(), hn::BitCast(I32(), bits));
  hn::StoreU(halves, Narrow<std::uint16_t>(), reinterpret_cast<std::uint16_t*>(out));
}

HWY_INLINE void store_f16(Vf v, std::byte* out) {
  if constexpr (kConvertsF16) {
    const Narrow<hwy::float16_t> dh;
    hn::StoreU(hn::DemoteTo(dh, v), dh, reinterpret_cast<hwy::float16_t*>(out));
  } else {
    store_narrow(f16_bits_of(v), out);
  }
}

HWY_INLINE void store_bf16(Vf v, std::byte* out) {
  const U32 du;
  const auto bits = hn::BitCast(du, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto rounding = hn::Add(hn::And(high, hn::Set(du, 1)), hn::Set(du, 0x7FFF));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, rounding));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  store_narrow(hn::IfThenElse(is_nan, hn::Or(high, hn::Set(du, 0x40)), rounded), out);
}

// To the nearest integer, halves away from zero, as roundf: adding 0.5 before truncation would be
// wrong for the largest number below 0.5.
HWY_INLINE Vf round_away(Vf v) {
  const Vf whole = hn::Trunc(v);
  const Vf one = hn::CopySign(all(1.0F), v);
  const auto up = hn::Ge(hn::Abs(hn::Sub(v, whole)), all(0.5F));
  return hn::Add(whole, hn::IfThenElseZero(up, one));
}

HWY_INLINE float largest_of_block(const float* x) {
  Vf largest = hn::Zero(F32());
  for (std::size_t i = 0; i < kQuantBlock; i += kLanes) {
    largest = hn::Max(hn::Abs(hn::LoadU(F32(), x + i)), largest);
  }
  return max_of(largest);
}

// The first element of the block whose absolute value is `largest`; 0, and not -0, when all are 0
// or it holds a NaN.
HWY_INLINE float extreme_of_block(const float* x, float largest) {
  if (largest == 0.0F) return 0.0F;
  for (std::size_t i = 0; i < kQuantBlock; i += kLanes) {
    const auto hit = hn::Eq(hn::Abs(hn::LoadU(F32(), x + i)), all(largest));
    const std::intptr_t lane = hn::FindFirstTrue(F32(), hit);
    if (lane >= 0) return x[i + static_cast<std::size_t>(lane)];
  }
  return 0.0F;
}

HWY_INLINE void encode_q8_0(const float* x, std::byte* block) {
  const Narrow<std::int8_t> d8;
  const element::QuantScale scale = element::q8_0_scale(largest_of_block(x));
  element::set_block_scale(scale.stored, block);
  auto* const quants = reinterpret_cast<std::int8_t*>(block + kScaleBytes);
  for (std::size_t i = 0; i < kQuantBlock; i += kLanes) {
    const Vf rounded = round_away(hn::Mul(hn::LoadU(F32(), x + i), all(scale.inverse)));
    const Vf bounded = hn::Min(hn::Max(rounded, all(-128.0F)), all(127.0F));
    hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(I32(), bounded)), d8, quants + i);
  }
}

HWY_INLINE hn::Vec<I32> q4_0_quants(const float* x, float inverse) {
  const Vf shifted = hn::Add(hn::Mul(hn::LoadU(F32(), x), all(inverse)), all(8.5F));
  return hn::ConvertTo(I32(), hn::Min(hn::Max(shifted, hn::Zero(F32())), all(15.0F)));
}

HWY_INLINE void encode_q4_0(const float* x, std::byte* block) {
  constexpr std::size_t kHalf = kQuantBlock / 2;
  const Narrow<std::uint8_t> d8;
  const element::QuantScale scale = element::q4_0_scale(extreme_of_block(x, largest_of_block(x)));
  element::set_block_scale(scale.stored, block);
  auto* const quants = reinterpret_cast<std::uint8_t*>(block + kScaleBytes);
  for (std::size_t i = 0; i < kHalf; i += kLanes) {
    const auto low = q4_0_quants(x + i, scale.inverse);
    const auto high = q4_0_quants(x + kHalf + i, scale.inverse);
    hn::StoreU(hn::DemoteTo(d8, hn::Or(low, hn::ShiftLeft<4>(high))), d8, quants + i);
  }
}

HWY_INLINE void decode_q8_0(const std::byte* block, float* out) {
  const Vf scale = all(element::block_scale(block));
  const auto* const quants = reinterpret_cast<const std::int8_t*>(block + kScaleBytes);
  for (std::size_t i = 0; i < kQuantBlock; i += kLanes) {
    const auto wide = hn::PromoteTo(I32(), hn::LoadU(Narrow<std::int8_t>(), quants + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(F32(), wide), scale), F32(), out + i);
  }
}

HWY_INLINE void decode_q4_0(const std::byte* block, float* out) {
  constexpr std::size_t kHalf = kQuantBlock / 2;
  const I32 di;
  const Vf scale = all(element::block_scale(block));
  const auto* const quants = reinterpret_cast<const std::uint8_t*>(block + kScaleBytes);
  for (std::size_t i = 0; i < kHalf; i += kLanes) {
    const auto pairs = hn::PromoteTo(di, hn::LoadU(Narrow<std::uint8_t>(), quants + i));
    const auto low = hn::Sub(hn::And(pairs, hn::Set(di, 15)), hn::Set(di, 8));
    const auto high = hn::Sub(hn::ShiftRight<4>(pairs), hn::Set(di, 8));
    hn::StoreU(hn::Mul(hn::ConvertTo(F32(), low), scale), F32(), out + i);
    hn::StoreU(hn::Mul(hn::ConvertTo(F32(), high), scale), F32(), out + kHalf + i);
  }
}

void encode_row(KvType type, const float* x, std::byte* out, std::size_t n) {
  std::size_t i = 0;
  switch (type) {
    case KvType::kF32: break;
    case KvType::kF16:
      for (; i + kLanes <= n; i += kLanes) store_f16(hn::LoadU(F32(), x + i), out + 2 * i);
      break;
    case KvType::kBf16:
      for (; i + kLanes <= n; i += kLanes) store_bf16(hn::LoadU(F32(), x + i), out + 2 * i);
      break;
    case KvType::kQ8_0:
      for (; i < n; i += kQuantBlock) encode_q8_0(x + i, out + i / kQuantBlock * kQ8Bytes);
      break;
    case KvType::kQ4_0:
      for (; i < n; i += kQuantBlock) encode_q4_0(x + i, out + i / kQuantBlock * kQ4Bytes);
      break;
  }
  if (i < n) ref::encode_row(type, x + i, out + kv_row_bytes(type, i), n - i);
}

void decode_row(KvType type, const std::byte* x, float* out, std::size_t n) {
  std::size_t i = 0;
  switch (type) {
    case KvType::kF32: break;
    case KvType::kF16:
      for (; i + kLanes <= n; i += kLanes) hn::StoreU(load_f16(x + 2 * i), F32(), out + i);
      break;
    case KvType::kBf16:
      for (; i + kLanes <= n; i += kLanes) hn::StoreU(load_bf16(x + 2 * i), F32(), out + i);
      break;
    case KvType::kQ8_0:
      for (; i < n; i += kQuantBlock) decode_q8_0(x + i / kQuantBlock * kQ8Bytes, out + i);
      break;
    case KvType::kQ4_0:
      for (; i < n; i += kQuantBlock) decode_q4_0(x + i / kQuantBlock * kQ4Bytes, out + i);
      break;
  }
  if (i < n) ref::decode_row(type, x + kv_row_bytes(type, i), out + i, n - i);
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
