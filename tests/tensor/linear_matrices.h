#pragma once

// Matrices of every weight type for the tests of products, and what these are compared with.

#include <ggml-cpu.h>
#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/hwy/tables.h"
#include "support/gguf_writer.h"
#include "tensor/linear.h"
#include "tensor/weight_types.h"

namespace restkv {

// Relative L2 over all outputs, for f32 products and for ggml's products of rounded activations.
inline constexpr double kBudget = 5e-7;

inline constexpr Product kProducts[] = {Product::kPacked, Product::kQuantised,
                                        Product::kExpandedGemm, Product::kExactDot};

inline std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> values(n);
  for (float& value : values) {
    value = -6.0F;
    for (int i = 0; i < 12; ++i) value += static_cast<float>(next_random(seed) >> 40) * 0x1p-24F;
  }
  return values;
}

// A matrix of a type, what its rows mean, and a bias.
struct Matrix {
  int type;
  std::size_t n_in;
  std::size_t n_out;
  std::vector<std::byte> data;
  std::vector<float> expanded;  // [n_out, n_in]
  std::vector<float> bias;      // [n_out]

  [[nodiscard]] TensorData tensor() const {
    return {.name = "blk.0.attn_q.weight",
            .type = type,
            .ne = {static_cast<std::int64_t>(n_in), static_cast<std::int64_t>(n_out)},
            .data = data.data(),
            .bytes = data.size()};
  }
  [[nodiscard]] TensorData bias_tensor() const {
    return {.name = "blk.0.attn_q.bias",
            .type = GGML_TYPE_F32,
            .ne = {static_cast<std::int64_t>(n_out)},
            .data = reinterpret_cast<const std::byte*>(bias.data()),
            .bytes = bias.size() * sizeof(float)};
  }
  // Packed for the best table here, if the type can be.
  [[nodiscard]] Linear linear() const {
    const TensorData with_bias = bias_tensor();
    Linear linear = Linear::make(tensor(), &with_bias, n_in, n_out).value();
    pack(linear, best_table());
    return linear;
  }
  void pack(Linear& linear, const KernelTable& kernels) const {
    const std::size_t bytes = linear.packed_bytes(kernels);
    if (bytes == 0) return;
    packed.push_back(AlignedArray<std::byte>(bytes));
    linear.pack(Threads(2), kernels, packed.back().data());
  }

  mutable std::vector<AlignedArray<std::byte>> packed;
};

inline std::vector<Product> products_of(const Linear& linear) {
  std::vector<Product> products(std::begin(kProducts), std::end(kProducts));
  if (!linear.is_packed()) std::erase(products, Product::kPacked);
  return products;
}

// ggml searches seconds for these types' tables before it quantises.
inline bool is_slow_to_quantise(ggml_type type) {
  constexpr ggml_type kSlow[] = {GGML_TYPE_IQ1_S, GGML_TYPE_IQ1_M, GGML_TYPE_IQ2_XXS,
                                 GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S};
  return std::ranges::find(kSlow, type) != std::end(kSlow);
}

// Blocks of such a type: any bits are weights, but for the scale, an f16, which is made 1.
inline void draw_blocks(ggml_type type, std::vector<std::byte>& data) {
  std::uint64_t state = 11;
  for (std::byte& byte : data) byte = static_cast<std::byte>(next_random(state));
  const std::size_t block_bytes = ggml_type_size(type);
  for (std::size_t at = 0; at < data.size(); at += block_bytes) {
    std::byte* const block = data.data() + at;
    if (type != GGML_TYPE_IQ1_M) {
      block[0] = std::byte{0x00};
      block[1] = std::byte{0x3C};
      continue;
    }
    // Here the scale's nibbles are the high ones of the last four 16-bit numbers.
    constexpr unsigned kNibbles[] = {0x0, 0x0, 0xC, 0x3};
    for (std::size_t i = 0; i < 4; ++i) {
      std::byte& high = block[block_bytes - 8 + 2 * i + 1];
      high = (high & std::byte{0x0F}) | static_cast<std::byte>(kNibbles[i] << 4);
    }
  }
}

inline Matrix make_matrix(int type, std::size_t n_in, std::size_t n_out) {
  const auto kind = static_cast<ggml_type>(type);
  const auto cols = static_cast<std::int64_t>(n_in);
  Matrix matrix{.type = type,
                .n_in = n_in,
                .n_out = n_out,
                .data = {},
                .expanded = {},
                .bias = {},
                .packed = {}};
  matrix.data.resize(ggml_row_size(kind, cols) * n_out);
  if (is_slow_to_quantise(kind)) {
    draw_blocks(kind, matrix.data);
  } else {
    const std::vector<float> weights = random_floats(n_in * n_out, n_in + n_out);
    const std::vector<float> importance(n_in, 1.0F);
    ggml_quantize_chunk(kind, weights.data(), matrix.data.data(), /*start=*/0,
                        static_cast<std::int64_t>(n_out), cols, importance.data());
  }
  matrix.expanded.resize(n_in * n_out);
  for (std::size_t j = 0; j < n_out; ++j) {
    const std::byte* const row = matrix.data.data() + j * ggml_row_size(kind, cols);
    float* const out = matrix.expanded.data() + j * n_in;
    if (kind == GGML_TYPE_F32) {
      std::memcpy(out, row, n_in * sizeof(float));
    } else {
      ggml_get_type_traits(kind)->to_float(row, out, cols);
    }
  }
  matrix.bias = random_floats(n_out, 3);
  return matrix;
}

// Every type that can hold weights and that ggml has a product for.
inline std::vector<int> weight_types() {
  std::vector<int> types;
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    if (can_quantise(type) && weight_type_info(type).multiplies()) types.push_back(type);
  }
  return types;
}

// A row of activations after its round trip through the partner type, in double.
inline std::vector<double> rounded_row(const WeightType& type, const float* x, std::size_t n) {
  std::vector<std::byte> bytes(type.partner_bytes(n));
  type.to_partner(x, bytes.data(), static_cast<std::int64_t>(n));
  std::vector<float> wide(n);
  const auto blocks = static_cast<std::size_t>(ggml_blck_size(type.partner));
  const std::size_t block_bytes = ggml_type_size(type.partner);
  // ggml cannot expand these two: a scale (f32, or f16 and a sum that is not needed), then the
  // quants.
  const auto expand_blocks = [&](std::size_t quants_at, auto&& scale_of) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::byte* const block = bytes.data() + i / blocks * block_bytes;
      const auto quant = static_cast<std::int8_t>(block[quants_at + i % blocks]);
      wide[i] = scale_of(block) * static_cast<float>(quant);
    }
  };
  if (type.partner == GGML_TYPE_Q8_K) {
    expand_blocks(4, [](const std::byte* block) {
      float scale = 0;
      std::memcpy(&scale, block, sizeof(scale));
      return scale;
    });
  } else if (type.partner == GGML_TYPE_Q8_1) {
    expand_blocks(4, [](const std::byte* block) {
      ggml_fp16_t scale = 0;
      std::memcpy(&scale, block, sizeof(scale));
      return ggml_fp16_to_fp32(scale);
    });
  } else if (type.partner == GGML_TYPE_F32) {
    wide.assign(x, x + n);
  } else {
    ggml_get_type_traits(type.partner)
        ->to_float(bytes.data(), wide.data(), static_cast<std::int64_t>(n));
  }
  return {wide.begin(), wide.end()};
}

// The same through packed products: 8 bits with one f32 scale for each 32.
inline std::vector<double> rounded_in_blocks(const float* x, std::size_t n) {
  std::vector<double> seen(n);
  for (std::size_t first = 0; first < n; first += kPackedBlock) {
    float largest = 0;
    for (std::size_t i = first; i < first + kPackedBlock; ++i)
      largest = std::max(largest, std::fabs(x[i]));
    for (std::size_t i = first; i < first + kPackedBlock; ++i) {
      seen[i] = std::nearbyint(x[i] * (127.0F / largest)) * (largest / 127.0F);
    }
  }
  return seen;
}

// y = x W^T + b, [m, n_out], with the activations as the product sees them.
inline std::vector<double> exact(const Matrix& matrix, Product product,
                                 const std::vector<float>& x) {
  const std::size_t m = x.size() / matrix.n_in;
  std::vector<double> y(m * matrix.n_out);
  for (std::size_t i = 0; i < m; ++i) {
    const float* const row = x.data() + i * matrix.n_in;
    const std::vector<double> seen =
        product == Product::kQuantised
            ? rounded_row(weight_type_info(matrix.type), row, matrix.n_in)
        : product == Product::kPacked ? rounded_in_blocks(row, matrix.n_in)
                                      : std::vector<double>(row, row + matrix.n_in);
    for (std::size_t j = 0; j < matrix.n_out; ++j) {
      double sum = matrix.bias[j];
      const float* const weights = matrix.expanded.data() + j * matrix.n_in;
      const double* const activations = seen.data();
      for (std::size_t k = 0; k < matrix.n_in; ++k) sum += activations[k] * weights[k];
      y[i * matrix.n_out + j] = sum;
    }
  }
  return y;
}

inline double relative_l2(const std::vector<float>& got, const std::vector<double>& wanted) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::isfinite(error) ? std::sqrt(error / size) : std::numeric_limits<double>::infinity();
}

inline std::vector<float> multiply(const Linear& linear, Product product, const Threads& threads,
                                   const std::vector<float>& x) {
  static LinearScratch scratch;  // grows from test to test, as an engine's does
  const std::size_t m = x.size() / linear.n_in();
  std::vector<float> y(m * linear.n_out(), std::numeric_limits<float>::quiet_NaN());
  linear.forward(threads, product, scratch, {x.data(), m, linear.n_in()},
                 {y.data(), m, linear.n_out()});
  return y;
}

}  // namespace restkv
