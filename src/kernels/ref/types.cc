// Rows of the cache's element types, by plain loops.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/element_types.h"
#include "kernels/ref/operations.h"

namespace restkv::ref {
namespace {

using element::bf16_to_f32;
using element::f16_to_f32;
using element::f32_to_bf16;
using element::f32_to_f16;
using element::kQ4Bytes;
using element::kQ8Bytes;
using element::kScaleBytes;

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
void save(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

void encode_q8_0(const float* x, std::byte* out) {
  float largest = 0;
  for (std::size_t i = 0; i < kQuantBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  const element::QuantScale scale = element::q8_0_scale(largest);
  element::set_block_scale(scale.stored, out);
  for (std::size_t i = 0; i < kQuantBlock; ++i) {
    save(out + kScaleBytes + i, element::q8_0_quant(x[i], scale.inverse));
  }
}

// Element i shares a byte with element i + 16.
void encode_q4_0(const float* x, std::byte* out) {
  float largest = 0;
  float extreme = 0;
  for (std::size_t i = 0; i < kQuantBlock; ++i) {
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      extreme = x[i];
    }
  }
  const element::QuantScale scale = element::q4_0_scale(extreme);
  element::set_block_scale(scale.stored, out);
  for (std::size_t i = 0; i < kQuantBlock / 2; ++i) {
    const unsigned low = element::q4_0_quant(x[i], scale.inverse);
    const unsigned high = element::q4_0_quant(x[i + kQuantBlock / 2], scale.inverse);
    save(out + kScaleBytes + i, static_cast<std::uint8_t>(low | (high << 4)));
  }
}

void decode_q8_0(const std::byte* block, float* out) {
  const float scale = element::block_scale(block);
  for (std::size_t i = 0; i < kQuantBlock; ++i) {
    out[i] = static_cast<float>(load<std::int8_t>(block + kScaleBytes + i)) * scale;
  }
}

void decode_q4_0(const std::byte* block, float* out) {
  const float scale = element::block_scale(block);
  for (std::size_t i = 0; i < kQuantBlock / 2; ++i) {
    const auto both = load<std::uint8_t>(block + kScaleBytes + i);
    out[i] = static_cast<float>(static_cast<int>(both & 15U) - 8) * scale;
    out[i + kQuantBlock / 2] = static_cast<float>(static_cast<int>(both >> 4) - 8) * scale;
  }
}

}  // namespace

void encode_row(KvType type, const float* x, std::byte* out, std::size_t n) {
  switch (type) {
    case KvType::kF32:
      std::copy_n(reinterpret_cast<const std::byte*>(x), n * sizeof(float), out);
      return;
    case KvType::kF16:
      for (std::size_t i = 0; i < n; ++i) save(out + 2 * i, f32_to_f16(x[i]));
      return;
    case KvType::kBf16:
      for (std::size_t i = 0; i < n; ++i) save(out + 2 * i, f32_to_bf16(x[i]));
      return;
    case KvType::kQ8_0:
      for (std::size_t b = 0; b < n / kQuantBlock; ++b) {
        encode_q8_0(x + b * kQuantBlock, out + b * kQ8Bytes);
      }
      return;
    case KvType::kQ4_0:
      for (std::size_t b = 0; b < n / kQuantBlock; ++b) {
        encode_q4_0(x + b * kQuantBlock, out + b * kQ4Bytes);
      }
      return;
  }
}

void decode_row(KvType type, const std::byte* x, float* out, std::size_t n) {
  switch (type) {
    case KvType::kF32: std::copy_n(x, n * sizeof(float), reinterpret_cast<std::byte*>(out)); return;
    case KvType::kF16:
      for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_f32(load<std::uint16_t>(x + 2 * i));
      return;
    case KvType::kBf16:
      for (std::size_t i = 0; i < n; ++i) out[i] = bf16_to_f32(load<std::uint16_t>(x + 2 * i));
      return;
    case KvType::kQ8_0:
      for (std::size_t b = 0; b < n / kQuantBlock; ++b) {
        decode_q8_0(x + b * kQ8Bytes, out + b * kQuantBlock);
      }
      return;
    case KvType::kQ4_0:
      for (std::size_t b = 0; b < n / kQuantBlock; ++b) {
        decode_q4_0(x + b * kQ4Bytes, out + b * kQuantBlock);
      }
      return;
  }
}

}  // namespace restkv::ref
