#pragma once

// What ggml can do with the rows of each weight type, looked up once. Private to src/tensor.

#include <ggml-cpu.h>
#include <ggml.h>

#include <cstddef>
#include <cstdint>

namespace restkv {

struct WeightType {
  ggml_type type = GGML_TYPE_F32;
  ggml_to_float_t to_float = nullptr;      // null for f32: a copy
  ggml_vec_dot_t dot = nullptr;            // (n, out, 0, weights, 0, activations, 0, 1)
  ggml_type partner = GGML_TYPE_F32;       // what the activations are rounded to for dot
  ggml_from_float_t to_partner = nullptr;  // rounds a row of f32 to the partner type

  // True when rows of this type can be both multiplied and expanded.
  [[nodiscard]] bool multiplies() const;
  // Bytes of a row of n elements of the weights, and of the partner. REQUIRES: whole blocks.
  [[nodiscard]] std::size_t row_bytes(std::size_t n) const { return ggml_row_size(type, size(n)); }
  [[nodiscard]] std::size_t partner_bytes(std::size_t n) const {
    return ggml_row_size(partner, size(n));
  }
  void expand(const std::byte* row, std::size_t n, float* out) const;

 private:
  static std::int64_t size(std::size_t n) { return static_cast<std::int64_t>(n); }
};

// Any value is allowed; a type that ggml does not have cannot multiply.
[[nodiscard]] const WeightType& weight_type_info(int type);

// f32 dot product of ggml: one fixed order of sums for a given n.
[[nodiscard]] float dot_f32(const float* a, const float* b, std::size_t n);

}  // namespace restkv
