#pragma once

// The ways of multiplying behind Linear. Private to src/tensor.

#include <cstddef>
#include <span>

#include "base/threads.h"
#include "restkv/views.h"
#include "tensor/linear.h"
#include "tensor/weight_types.h"

namespace restkv {

// One y = x W^T + b; y.cols rows of weights, each row_bytes long.
struct WeightProduct {
  const WeightType* type;
  const std::byte* weights;  // rows as in the file, or panels
  std::size_t row_bytes;
  std::span<const float> bias;  // empty for none
  const KernelTable* kernels;   // of packed weights
  View2<float> y;

  [[nodiscard]] const std::byte* row(std::size_t i) const { return weights + i * row_bytes; }
};

// x: [m, n_in] with m > 0; all products take the same x. May throw std::bad_alloc.
void multiply_quantised(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                        std::span<const WeightProduct> products);
void multiply_exact(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                    std::span<const WeightProduct> products);
void multiply_packed(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                     std::span<const WeightProduct> products);
void multiply_expanded(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                       std::span<const WeightProduct> products);

// Rows [first, last) of the weights of one product.
struct RowBlock {
  const WeightProduct* product;
  std::size_t first;
  std::size_t last;
};

// Cuts the rows of every product into equal blocks of at most `most` rows.
[[nodiscard]] std::vector<RowBlock> cut_into_blocks(std::span<const WeightProduct> products,
                                                    std::size_t most);

// y[:, first .. last) += bias.
void add_bias(const RowBlock& block);

}  // namespace restkv
