// How fast Linear multiplies. Three modes:
//   bench_linear MODEL.gguf            one token through every matrix of a model: ms, GB/s
//   bench_linear                       the matrices of Qwen2.5-0.5B in several weight types and
//                                      numbers of rows: GFLOPS of each product
//   bench_linear --table               where this machine would put the two constants of
//                                      src/tensor/product_table.cc, for each weight type
// Each figure is the best of several runs: other programs may use the machine at the same time.

#include <ggml.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "common.h"
#include "tensor/linear.h"
#include "whole_number.h"

namespace {

using restkv::best_seconds;
using restkv::GgufFile;
using restkv::Linear;
using restkv::LinearScratch;
using restkv::Product;
using restkv::random_floats;
using restkv::TensorData;
using restkv::Threads;
using restkv::View2;
using restkv::whole_number;

int one_pass(const std::string& path, const Threads& threads) {
  const auto file = GgufFile::open(path);
  if (!file.ok()) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    return 1;
  }
  std::vector<Linear> matrices;
  std::size_t bytes = 0;
  std::size_t widest = 0;
  std::size_t longest = 0;
  for (const TensorData& tensor : (*file)->tensors()) {
    if (tensor.ne.size() != 2) continue;
    auto linear = Linear::make(tensor, nullptr, static_cast<std::size_t>(tensor.ne[0]),
                               static_cast<std::size_t>(tensor.ne[1]));
    if (!linear.ok()) continue;
    bytes += linear->bytes();
    widest = std::max(widest, linear->n_in());
    longest = std::max(longest, linear->n_out());
    matrices.push_back(std::move(linear).value());
  }
  const restkv::KernelTable& kernels = restkv::kernels_to_time();
  std::size_t packed_bytes = 0;
  for (const Linear& linear : matrices) packed_bytes += linear.packed_bytes(kernels) + 64;
  restkv::AlignedArray<std::byte> packed(packed_bytes, restkv::MemoryUse::kLarge);
  std::byte* next = packed.data();
  for (Linear& linear : matrices) {
    if (linear.packed_bytes(kernels) == 0) continue;
    linear.pack(threads, kernels, next);
    next += (linear.packed_bytes(kernels) + 63) / 64 * 64;
  }
  const std::vector<float> x = random_floats(widest);
  std::vector<float> y(longest);
  LinearScratch scratch;
  for (const Product product : {Product::kPacked, Product::kQuantised}) {
    const double seconds = best_seconds(20, [&] {
      for (const Linear& linear : matrices) {
        const bool packs = product == Product::kPacked && linear.is_packed();
        linear.forward(threads, packs ? product : Product::kQuantised, scratch,
                       {x.data(), 1, linear.n_in()}, {y.data(), 1, linear.n_out()});
      }
    });
    std::printf("%s: %zu matrices, %.1f MB, %d threads: %.2f ms a token, %.1f GB/s\n",
                product == Product::kPacked ? "packed" : "quantised", matrices.size(),
                static_cast<double>(bytes) / 1e6, threads.count(), seconds * 1e3,
                static_cast<double>(bytes) / seconds / 1e9);
  }
  return 0;
}

struct Case {
  std::size_t n_in;
  std::size_t n_out;
  ggml_type type;
};

// Random weights in the matrix's type; `data` holds them.
Linear random_linear(const Case& matrix, std::vector<std::byte>& data) {
  const std::vector<float> weights = random_floats(matrix.n_in * matrix.n_out);
  const auto n_in = static_cast<std::int64_t>(matrix.n_in);
  const auto n_out = static_cast<std::int64_t>(matrix.n_out);
  data.resize(ggml_row_size(matrix.type, n_in) * matrix.n_out);
  ggml_quantize_chunk(matrix.type, weights.data(), data.data(), 0, n_out, n_in, nullptr);
  const TensorData tensor{.name = "w",
                          .type = matrix.type,
                          .ne = {n_in, n_out},
                          .data = data.data(),
                          .bytes = data.size()};
  return Linear::make(tensor, nullptr, matrix.n_in, matrix.n_out).value();
}

// The best of several runs with m rows.
double seconds_of(const Linear& linear, Product product, std::size_t m, const Threads& threads,
                  LinearScratch& scratch) {
  const std::vector<float> x = random_floats(m * linear.n_in());
  std::vector<float> y(m * linear.n_out());
  const double flops = 2.0 * static_cast<double>(m * linear.n_in() * linear.n_out());
  const int repeats = std::clamp(static_cast<int>(2e10 / flops), 5, 50);
  return best_seconds(repeats, [&] {
    linear.forward(threads, product, scratch, {x.data(), m, linear.n_in()},
                   {y.data(), m, linear.n_out()});
  });
}

void time_products(const Case& matrix, const Threads& threads) {
  std::vector<std::byte> data;
  Linear linear = random_linear(matrix, data);
  const restkv::KernelTable& kernels = restkv::kernels_to_time();
  restkv::AlignedArray<std::byte> packed(linear.packed_bytes(kernels));
  if (packed.size() > 0) linear.pack(threads, kernels, packed.data());
  LinearScratch scratch;
  for (const std::size_t m : {1, 2, 4, 8, 16, 32, 64, 128, 512, 2048}) {
    std::printf("%5zu x %5zu %-5s m %4zu ", matrix.n_in, matrix.n_out, ggml_type_name(matrix.type),
                m);
    for (const Product product :
         {Product::kPacked, Product::kQuantised, Product::kExpandedGemm, Product::kExactDot}) {
      if (product == Product::kPacked && !linear.is_packed()) continue;
      if (product == Product::kExactDot && m > 16) continue;
      const double flops = 2.0 * static_cast<double>(m * matrix.n_in * matrix.n_out);
      std::printf(" %8.1f", flops / seconds_of(linear, product, m, threads, scratch) / 1e9);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

// The fewest rows from which expanding for oneDNN is faster at every number tried beyond.
std::string gemm_from(const Linear& linear, Product other, const std::vector<std::size_t>& rows,
                      const Threads& threads) {
  LinearScratch scratch;
  std::string from = "never";
  for (const std::size_t m : std::ranges::reverse_view(rows)) {
    if (seconds_of(linear, Product::kExpandedGemm, m, threads, scratch) >=
        seconds_of(linear, other, m, threads, scratch)) {
      break;
    }
    from = std::to_string(m);
  }
  return from;
}

void print_table(const Threads& threads) {
  std::printf(
      "rows from which oneDNN on expanded weights is faster, on %d thread%s\n"
      "type   than quantised   than exact dot\n",
      threads.count(), threads.count() == 1 ? "" : "s");
  for (const ggml_type type : {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                               GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_F16, GGML_TYPE_BF16}) {
    std::vector<std::byte> data;
    const Linear linear = random_linear({.n_in = 1024, .n_out = 4864, .type = type}, data);
    std::printf(
        "%-5s %16s %16s\n", ggml_type_name(type),
        gemm_from(linear, Product::kQuantised, {4, 8, 16, 24, 32, 48, 64, 128}, threads).c_str(),
        gemm_from(linear, Product::kExactDot, {1, 2, 3, 4, 5, 6, 8, 16}, threads).c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* const wanted = std::getenv("THREADS");
  const std::optional<int> count = whole_number(wanted != nullptr ? wanted : "0", 0, 1024);
  if (!count) {
    std::fprintf(stderr, "THREADS takes a whole number from 0 to 1024, not '%s'\n", wanted);
    return 2;
  }
  const Threads threads(*count);
  if (argc > 1 && argv[1] == std::string_view("--table")) {
    print_table(threads);
    return 0;
  }
  if (argc > 1) return one_pass(argv[1], threads);
  std::printf("GFLOPS on %d threads: packed, quantised, expanded gemm, exact dot\n",
              threads.count());
  for (const ggml_type type : {GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K}) {
    for (const auto& [n_in, n_out] : {std::pair{896, 896}, {896, 4864}, {4864, 896}}) {
      if (n_in % ggml_blck_size(type) != 0) continue;
      time_products({static_cast<std::size_t>(n_in), static_cast<std::size_t>(n_out), type},
                    threads);
    }
  }
  return 0;
}
