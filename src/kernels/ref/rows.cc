// Norms, activations, rotations and sums over one row, by plain loops.

#include <cmath>

#include "kernels/ref/operations.h"

namespace restkv::ref {

float dot(const float* a, const float* b, std::size_t n) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void axpy(float scale, const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += scale * x[i];
}

void rms_norm(const float* x, const float* weight, float eps, float* out, std::size_t n) {
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const auto scale = static_cast<float>(
      1.0 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
  for (std::size_t i = 0; i < n; ++i)
    out[i] = x[i] * scale * (weight != nullptr ? weight[i] : 1.0F);
}

void silu_mul(float* gate, const float* up, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void gelu_mul(float* gate, const float* up, std::size_t n) {
  constexpr float kSqrt2OverPi = 0.79788456080286535588F;
  constexpr float kCubic = 0.044715F;
  for (std::size_t i = 0; i < n; ++i) {
    const float x = gate[i];
    gate[i] = 0.5F * x * (1.0F + std::tanh(kSqrt2OverPi * x * (1.0F + kCubic * x * x))) * up[i];
  }
}

void add(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

void rope_adjacent(float* x, const float* cos_sin, std::size_t n_rot) {
  for (std::size_t i = 0; i < n_rot; i += 2) {
    const float a = x[i];
    const float b = x[i + 1];
    x[i] = a * cos_sin[i] - b * cos_sin[i + 1];
    x[i + 1] = a * cos_sin[i + 1] + b * cos_sin[i];
  }
}

void rope_halves(float* x, const float* cos_sin, std::size_t n_rot) {
  const std::size_t half = n_rot / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * cos_sin[2 * i] - b * cos_sin[2 * i + 1];
    x[i + half] = a * cos_sin[2 * i + 1] + b * cos_sin[2 * i];
  }
}

}  // namespace restkv::ref
