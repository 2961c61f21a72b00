#pragma once

// Small types that every part of restkv shares.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace restkv {

using Token = std::int32_t;     // index into the vocabulary
using Position = std::int32_t;  // place in the sequence as the model was told, counted from 0

// Element type of the keys or the values that the cache holds. The quantised types are ggml's
// block formats: 32 elements share one f16 scale.
enum class KvType : std::uint8_t { kF32, kF16, kBf16, kQ8_0, kQ4_0 };

inline constexpr std::array<KvType, 5> kAllKvTypes = {KvType::kF32, KvType::kF16, KvType::kBf16,
                                                      KvType::kQ8_0, KvType::kQ4_0};
inline constexpr std::size_t kQuantBlock = 32;  // elements that share one scale

// "f32", "f16", "bf16", "q8_0", "q4_0": llama.cpp's names.
[[nodiscard]] constexpr std::string_view kv_type_name(KvType type) {
  switch (type) {
    case KvType::kF32: return "f32";
    case KvType::kF16: return "f16";
    case KvType::kBf16: return "bf16";
    case KvType::kQ8_0: return "q8_0";
    case KvType::kQ4_0: return "q4_0";
  }
  return "?";
}

[[nodiscard]] constexpr std::optional<KvType> kv_type_by_name(std::string_view name) {
  for (const KvType type : kAllKvTypes) {
    if (kv_type_name(type) == name) return type;
  }
  return std::nullopt;
}

// What a whole layer of a cache with keys and values of these types is held in while a prompt is
// read or rows are scored. Caches that differ in it cannot share a prefill.
[[nodiscard]] constexpr KvType working_type(KvType type_k, KvType type_v) {
  return type_k == KvType::kF32 || type_v == KvType::kF32 ? KvType::kF32 : KvType::kF16;
}

[[nodiscard]] constexpr bool kv_type_is_quantised(KvType type) {
  return type == KvType::kQ8_0 || type == KvType::kQ4_0;
}

// Bytes of one row of n elements. REQUIRES: n is a multiple of kQuantBlock for quantised types.
[[nodiscard]] constexpr std::size_t kv_row_bytes(KvType type, std::size_t n) {
  switch (type) {
    case KvType::kF32: return n * 4;
    case KvType::kF16:
    case KvType::kBf16: return n * 2;
    case KvType::kQ8_0: return n / kQuantBlock * (2 + kQuantBlock);
    case KvType::kQ4_0: return n / kQuantBlock * (2 + kQuantBlock / 2);
  }
  return 0;
}

}  // namespace restkv
