#pragma once

// One element or one block of a cache type at a time, in plain integer and f32 arithmetic: the
// definition that every table's encode_row and decode_row must match bit for bit. Not for hot
// loops. A NaN stays a NaN, with an unspecified payload; quantised types have no NaN and no
// infinity: a block that holds one gets some finite content, never undefined behaviour.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "restkv/types.h"

namespace restkv::element {

[[nodiscard]] inline float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24 is exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// To nearest, ties to even; too large becomes infinity.
[[nodiscard]] inline std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return sign | 0x7E00U;   // NaN
  if (magnitude >= 0x477FF000U) return sign | 0x7C00U;  // 65520 and more
  if (magnitude < 0x38800000U) {
    // Below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded by the
    // addition.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U);
  }
  const std::uint32_t odd = (magnitude >> 13) & 1U;
  return sign | static_cast<std::uint16_t>((magnitude - 0x38000000U + 0xFFFU + odd) >> 13);
}

[[nodiscard]] inline float bf16_to_f32(std::uint16_t brain) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(brain) << 16);
}

[[nodiscard]] inline std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// A block of kQuantBlock elements as it lies in memory, unaligned: the f16 scale, then the quants.
inline constexpr std::size_t kScaleBytes = 2;
inline constexpr std::size_t kQ8Bytes = kScaleBytes + kQuantBlock;
inline constexpr std::size_t kQ4Bytes = kScaleBytes + kQuantBlock / 2;

// The f16 that begins at any address.
[[nodiscard]] inline float f16_at(const std::byte* p) {
  std::uint16_t half = 0;
  std::memcpy(&half, p, sizeof half);
  return f16_to_f32(half);
}
[[nodiscard]] inline float block_scale(const std::byte* block) { return f16_at(block); }

// A scale that is too large for f16 becomes the largest: ggml would store an infinity, and with it
// a NaN for every quant 0.
inline void set_block_scale(float scale, std::byte* block) {
  constexpr float kLargest = 65504.0F;
  const std::uint16_t half = f32_to_f16(std::clamp(scale, -kLargest, kLargest));
  std::memcpy(block, &half, sizeof half);
}

// How a block is scaled before its elements are rounded.
struct QuantScale {
  float stored;   // what the block keeps
  float inverse;  // what elements are multiplied by; 0 where the block is all zero
};

// largest: the largest |x|.
[[nodiscard]] inline QuantScale q8_0_scale(float largest) {
  const float scale = largest / 127.0F;
  return {scale, scale != 0.0F ? 1.0F / scale : 0.0F};
}
// extreme: the first element with the largest |x|, sign included; it becomes the quant 0.
[[nodiscard]] inline QuantScale q4_0_scale(float extreme) {
  const float scale = extreme / -8.0F;
  return {scale, scale != 0.0F ? 1.0F / scale : 0.0F};
}

// Half away from zero, as roundf.
[[nodiscard]] inline std::int8_t q8_0_quant(float x, float inverse) {
  const float rounded = std::round(x * inverse);
  if (!(rounded > -128.0F)) return -128;  // NaN too
  return rounded < 127.0F ? static_cast<std::int8_t>(rounded) : std::int8_t{127};
}
[[nodiscard]] inline std::uint8_t q4_0_quant(float x, float inverse) {
  const float shifted = x * inverse + 8.5F;
  if (!(shifted > 0.0F)) return 0;  // NaN too
  return shifted < 15.0F ? static_cast<std::uint8_t>(shifted) : std::uint8_t{15};
}

}  // namespace restkv::element
