// Operations on single rows: norms, activations, rotary positions. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_ROWS_INL_H_
#undef RESTKV_KERNELS_HWY_ROWS_INL_H_
#else
#define RESTKV_KERNELS_HWY_ROWS_INL_H_
#endif

#include <cmath>
#include <cstddef>

#include "kernels/hwy/vectors-inl.h"
#include "kernels/ref/operations.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// Elements that whole vectors cover; the rest is done by the plain loops of ref.
HWY_INLINE std::size_t whole_vectors(std::size_t n) { return n / kLanes * kLanes; }

float dot(const float* a, const float* b, std::size_t n) {
  const F32 d;
  // Four sums, because one would wait for itself at every step.
  Vf sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  std::size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (std::size_t v = 0; v < 4; ++v) {
      sum[v] =
          hn::MulAdd(hn::LoadU(d, a + i + v * kLanes), hn::LoadU(d, b + i + v * kLanes), sum[v]);
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    sum[0] = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum[0]);
  }
  const Vf pairs = hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]));
  return sum_of(pairs) + ref::dot(a + i, b + i, n - i);
}

void axpy(float scale, const float* x, float* y, std::size_t n) {
  const F32 d;
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::MulAdd(all(scale), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  ref::axpy(scale, x + whole, y + whole, n - whole);
}

void rms_norm(const float* x, const float* weight, float eps, float* out, std::size_t n) {
  const F32 d;
  const float mean = dot(x, x, n) / static_cast<float>(n);
  const float factor = 1.0F / std::sqrt(mean + eps);
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Vf scaled = hn::Mul(hn::LoadU(d, x + i), all(factor));
    hn::StoreU(weight == nullptr ? scaled : hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  }
  for (std::size_t i = whole; i < n; ++i) {
    out[i] = x[i] * factor * (weight == nullptr ? 1.0F : weight[i]);
  }
}

void silu_mul(float* gate, const float* up, std::size_t n) {
  const F32 d;
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Vf x = hn::LoadU(d, gate + i);
    const Vf silu = hn::Div(x, hn::Add(all(1.0F), exp(hn::Neg(x))));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, gate + i);
  }
  ref::silu_mul(gate + whole, up + whole, n - whole);
}

// 0.5 * (1 + tanh(y)) = 1 / (1 + exp(-2y)), which does not cancel for negative y.
void gelu_mul(float* gate, const float* up, std::size_t n) {
  const F32 d;
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Vf x = hn::LoadU(d, gate + i);
    const Vf cubic = hn::MulAdd(hn::Mul(x, x), all(0.044715F), all(1.0F));
    const Vf twice_negative = hn::Mul(hn::Mul(all(-2.0F * 0.79788456F), x), cubic);
    const Vf gelu = hn::Div(x, hn::Add(all(1.0F), exp(twice_negative)));
    hn::StoreU(hn::Mul(gelu, hn::LoadU(d, up + i)), d, gate + i);
  }
  ref::gelu_mul(gate + whole, up + whole, n - whole);
}

void add(const float* x, float* y, std::size_t n) {
  const F32 d;
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  }
  ref::add(x + whole, y + whole, n - whole);
}

void rope_adjacent(float* x, const float* cos_sin, std::size_t n_rot) {
  const F32 d;
  const std::size_t whole = n_rot / (2 * kLanes) * (2 * kLanes);
  for (std::size_t i = 0; i < whole; i += 2 * kLanes) {
    Vf a;
    Vf b;
    Vf cos;
    Vf sin;
    hn::LoadInterleaved2(d, x + i, a, b);
    hn::LoadInterleaved2(d, cos_sin + i, cos, sin);
    const Vf turned_a = hn::NegMulAdd(b, sin, hn::Mul(a, cos));
    const Vf turned_b = hn::MulAdd(a, sin, hn::Mul(b, cos));
    hn::StoreInterleaved2(turned_a, turned_b, d, x + i);
  }
  ref::rope_adjacent(x + whole, cos_sin + whole, n_rot - whole);
}

void rope_halves(float* x, const float* cos_sin, std::size_t n_rot) {
  const F32 d;
  const std::size_t half = n_rot / 2;
  const std::size_t whole = whole_vectors(half);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Vf cos;
    Vf sin;
    hn::LoadInterleaved2(d, cos_sin + 2 * i, cos, sin);
    const Vf a = hn::LoadU(d, x + i);
    const Vf b = hn::LoadU(d, x + half + i);
    hn::StoreU(hn::NegMulAdd(b, sin, hn::Mul(a, cos)), d, x + i);
    hn::StoreU(hn::MulAdd(a, sin, hn::Mul(b, cos)), d, x + half + i);
  }
  for (std::size_t i = whole; i < half; ++i) {
    const float a = x[i];
    const float b = x[half + i];
    x[i] = a * cos_sin[2 * i] - b * cos_sin[2 * i + 1];
    x[half + i] = a * cos_sin[2 * i + 1] + b * cos_sin[2 * i];
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
