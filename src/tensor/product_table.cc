#include "tensor/linear.h"

namespace restkv {
namespace {

// Where one product overtakes the other; `bench_linear --table` prints both for the machine at
// hand. One number serves all instruction sets and types: usual weights are packed and never come
// here, far from the crossing there is no doubt, and prompts near it are read in a moment either
// way (figures: docs/kernels.md).

// Rows from which expanding the weights to f32 once pays beside ggml's row products.
constexpr std::size_t kGemmFrom = 32;
// Rows up to which a row of weights is expanded for each product, where f32 is forced.
constexpr std::size_t kExactDotUpTo = 4;

}  // namespace

Product prefill_product(ProductChoice choice, std::size_t n_token) {
  if (choice == ProductChoice::kQuantised) return Product::kQuantised;
  if (choice == ProductChoice::kF32) {
    return n_token <= kExactDotUpTo ? Product::kExactDot : Product::kExpandedGemm;
  }
  return n_token < kGemmFrom ? Product::kQuantised : Product::kExpandedGemm;
}

Product decode_product(ProductChoice choice) {
  return choice == ProductChoice::kF32 ? Product::kExactDot : Product::kQuantised;
}

}  // namespace restkv
