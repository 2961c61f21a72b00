// How near attention of prefill comes to the machine's multiply-adds: one block of 64 queries on
// one thread, the best of several runs, beside the peak measured in between.
//   bench_prefill_attention [TYPE [KEYS]]     f16 (default) or f32 rows; 8192 keys

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <vector>

#include "base/aligned.h"
#include "common.h"
#include "kernels/kernels.h"
#include "kernels/peak.h"
#include "whole_number.h"

namespace {

using restkv::AlignedArray;
using restkv::best_seconds;
using restkv::KernelTable;
using restkv::KvType;
using restkv::random_floats;

constexpr int kRepeats = 15;

// Billions of multiplications and additions per second.
double measure_peak() {
  constexpr std::size_t kSteps = 2'000'000;
  const restkv::MultiplyLoop& loop = restkv::multiply_loops().front();
  volatile float sink = 0;
  const double seconds = best_seconds(5, [&] { sink = loop.run(kSteps); });
  return loop.operations_per_step * kSteps / seconds * 1e-9;
}

struct Shape {
  KvType type = KvType::kF16;
  std::uint32_t keys = 8192;
  std::size_t group = 1;
  std::size_t head_dim = 64;
};

void time_shape(const KernelTable& kernels, const Shape& shape) {
  const auto [type, keys, group, head_dim] = shape;
  constexpr std::size_t kQueries = restkv::kMaxQueryBlock;
  const std::vector<float> q = random_floats(kQueries * group * head_dim);
  const std::vector<float> rows = random_floats(std::size_t{keys} * head_dim);
  AlignedArray<std::byte> typed(rows.size() * sizeof(float));
  kernels.encode_row(type, rows.data(), typed.data(), rows.size());
  std::vector<float> out(q.size());
  AlignedArray<float> scratch(restkv::prefill_attention_scratch(group, head_dim));
  std::vector<std::uint32_t> begin(kQueries, 0);
  std::vector<std::uint32_t> end(kQueries);
  double pairs = 0;
  for (std::uint32_t i = 0; i < kQueries; ++i) {
    end[i] = keys - static_cast<std::uint32_t>(kQueries) + i + 1;
    pairs += end[i];
  }
  const double seconds = best_seconds(kRepeats, [&] {
    kernels.prefill_attention({.q = q.data(),
                               .out = out.data(),
                               .token_stride = group * head_dim,
                               .n_query = kQueries,
                               .group = group,
                               .head_dim = head_dim,
                               .keys = {typed.data(), type},
                               .values = {typed.data(), type},
                               .row_begin = begin.data(),
                               .row_end = end.data(),
                               .rule = {.scale = 0.125F},
                               .scratch = scratch.data()});
  });
  const double peak = measure_peak();
  const double rate =
      4.0 * static_cast<double>(group) * static_cast<double>(head_dim) * pairs / seconds * 1e-9;
  std::printf("group %zu, head_dim %3zu: %7.2f ms, %6.1f GFLOPS, %4.1f %% of %.1f\n", group,
              head_dim, seconds * 1e3, rate, 100.0 * rate / peak, peak);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "f16";
  const std::optional<int> keys =
      restkv::whole_number(argc > 2 ? argv[2] : "8192", int{restkv::kMaxQueryBlock}, 1'000'000);
  if ((name != "f16" && name != "f32") || !keys) {
    std::fprintf(stderr, "usage: bench_prefill_attention [f16|f32 [64..1000000]]\n");
    return 2;
  }
  const KernelTable& kernels = restkv::kernels_to_time();
  std::printf("kernels %.*s, %zu queries, %d keys in %.*s\n", static_cast<int>(kernels.name.size()),
              kernels.name.data(), restkv::kMaxQueryBlock, *keys, static_cast<int>(name.size()),
              name.data());
  Shape shape{.type = name == "f16" ? KvType::kF16 : KvType::kF32,
              .keys = static_cast<std::uint32_t>(*keys)};
  for (shape.head_dim = 64; shape.head_dim <= 128; shape.head_dim *= 2) {
    for (shape.group = 1; shape.group <= 7; shape.group += 3) time_shape(kernels, shape);
  }
  return 0;
}
