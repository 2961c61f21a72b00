// The f32 loop and the reading loop, compiled by Highway once for each instruction set; the best is
// picked at run time.

#include <algorithm>
#include <vector>

#include "kernels/peak.h"
#include "kernels/peak/bf16.h"
#include "kernels/peak/int8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak/loops.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Two units with a latency of four need eight sums at a time, and four of 128 bits sixteen; twelve
// stay in 16 registers beside the factors and keep every x86 core busy.
constexpr std::size_t kSums = 12;

double f32_operations_per_step() {
  return 2.0 * static_cast<double>(kSums * hn::Lanes(hn::ScalableTag<float>()));
}

float f32_loop(std::size_t steps) {
  const hn::ScalableTag<float> d;
  // Sums that shrink towards a fixed point: no overflow, no denormal numbers, nothing to fold.
  const auto factor = hn::Set(d, 0.5F);
  const auto addend = hn::Set(d, 1.0F);
  auto s0 = hn::Iota(d, 0.0F), s1 = hn::Iota(d, 1.0F), s2 = hn::Iota(d, 2.0F);
  auto s3 = hn::Iota(d, 3.0F), s4 = hn::Iota(d, 4.0F), s5 = hn::Iota(d, 5.0F);
  auto s6 = hn::Iota(d, 6.0F), s7 = hn::Iota(d, 7.0F), s8 = hn::Iota(d, 8.0F);
  auto s9 = hn::Iota(d, 9.0F), s10 = hn::Iota(d, 10.0F), s11 = hn::Iota(d, 11.0F);
  for (std::size_t i = 0; i < steps; ++i) {
    s0 = hn::MulAdd(s0, factor, addend);
    s1 = hn::MulAdd(s1, factor, addend);
    s2 = hn::MulAdd(s2, factor, addend);
    s3 = hn::MulAdd(s3, factor, addend);
    s4 = hn::MulAdd(s4, factor, addend);
    s5 = hn::MulAdd(s5, factor, addend);
    s6 = hn::MulAdd(s6, factor, addend);
    s7 = hn::MulAdd(s7, factor, addend);
    s8 = hn::MulAdd(s8, factor, addend);
    s9 = hn::MulAdd(s9, factor, addend);
    s10 = hn::MulAdd(s10, factor, addend);
    s11 = hn::MulAdd(s11, factor, addend);
  }
  const auto a = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(s4, s5));
  const auto b = hn::Add(hn::Add(hn::Add(s6, s7), hn::Add(s8, s9)), hn::Add(s10, s11));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
}

constexpr std::size_t kAhead = 1024;  // floats: the next page of 4 KiB

// The parts of the buffer side by side.
template <std::size_t Streams, bool Fetch>
float read_parts(const float* HWY_RESTRICT data, std::size_t n) {
  const hn::CappedTag<float, 256> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t part = n / Streams;
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  for (std::size_t i = 0; i < part; i += 4 * lanes) {
    for (std::size_t stream = 0; stream < Streams; ++stream) {
      const float* const from = data + stream * part + i;
      if constexpr (Fetch) {
        const float* const ahead = data + std::min(stream * part + i + kAhead, n - 4 * lanes);
        for (std::size_t j = 0; j < 4 * lanes; j += 16) hwy::Prefetch(ahead + j);
      }
      s0 = hn::Add(s0, hn::Load(d, from));
      s1 = hn::Add(s1, hn::Load(d, from + lanes));
      s2 = hn::Add(s2, hn::Load(d, from + 2 * lanes));
      s3 = hn::Add(s3, hn::Load(d, from + 3 * lanes));
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

float read_stream(const float* data, std::size_t n) { return read_parts<1, false>(data, n); }
float read_ahead(const float* data, std::size_t n) { return read_parts<1, true>(data, n); }
float read_four(const float* data, std::size_t n) { return read_parts<4, true>(data, n); }

}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace restkv {
namespace {

HWY_EXPORT(f32_operations_per_step);
HWY_EXPORT(f32_loop);
HWY_EXPORT(read_stream);
HWY_EXPORT(read_ahead);
HWY_EXPORT(read_four);

float best_f32_loop(std::size_t steps) { return HWY_DYNAMIC_DISPATCH(f32_loop)(steps); }

}  // namespace

std::span<const MultiplyLoop> multiply_loops() {
  static const std::vector<MultiplyLoop> kLoops = [] {
    std::vector<MultiplyLoop> loops = {
        {.name = "f32",
         .elements = LoopElements::kFloat,
         .operations_per_step = HWY_DYNAMIC_DISPATCH(f32_operations_per_step)(),
         .run = best_f32_loop}};
    const std::span<const MultiplyLoop> bf16 = bf16_loops();
    loops.insert(loops.end(), bf16.begin(), bf16.end());
    const std::span<const MultiplyLoop> int8 = int8_loops();
    loops.insert(loops.end(), int8.begin(), int8.end());
    return loops;
  }();
  return kLoops;
}

std::span<const ReadLoop> read_loops() {
  static const ReadLoop kLoops[] = {
      {.name = "one stream",
       .run = [](const float* data,
                 std::size_t n) { return HWY_DYNAMIC_DISPATCH(read_stream)(data, n); }},
      {.name = "one stream, fetched ahead",
       .run = [](const float* data,
                 std::size_t n) { return HWY_DYNAMIC_DISPATCH(read_ahead)(data, n); }},
      {.name = "four streams, fetched ahead", .run = [](const float* data, std::size_t n) {
         return HWY_DYNAMIC_DISPATCH(read_four)(data, n);
       }}};
  return kLoops;
}

}  // namespace restkv
#endif  // HWY_ONCE
