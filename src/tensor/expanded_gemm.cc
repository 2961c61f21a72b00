// Weights expanded to f32 a block of rows at a time, multiplied by oneDNN. Why blocks: the expanded
// rows are read back from the cache by the product, and no matrix is ever held expanded as a whole.

#include <dnnl.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "base/check.h"
#include "tensor/linear_products.h"

namespace restkv {
namespace {

// Rows of weights in a block at most. A fixed number, whatever the number of threads: it decides
// how oneDNN cuts its sums, and so the bits.
constexpr std::size_t kBlockRows = 256;

// y[:, first .. last) = x W[first .. last, :]^T. False when oneDNN has no memory.
bool multiply_block(const RowBlock& block, View2<const float> x, float* expanded) {
  const WeightProduct& product = *block.product;
  const std::size_t rows = block.last - block.first;
  for (std::size_t j = 0; j < rows; ++j) {
    product.type->expand(product.row(block.first + j), x.cols, expanded + j * x.cols);
  }
  const OneThread one_thread;  // a block is one thread's work
  const dnnl_status_t status = dnnl_sgemm(
      'N', 'T', static_cast<dnnl_dim_t>(x.rows), static_cast<dnnl_dim_t>(rows),
      static_cast<dnnl_dim_t>(x.cols), /*alpha=*/1.0F, x.data, static_cast<dnnl_dim_t>(x.stride),
      expanded, static_cast<dnnl_dim_t>(x.cols), /*beta=*/0.0F, product.y.data + block.first,
      static_cast<dnnl_dim_t>(product.y.stride));
  RESTKV_CHECK(status == dnnl_success || status == dnnl_out_of_memory);
  return status == dnnl_success;
}

}  // namespace

void multiply_expanded(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                       std::span<const WeightProduct> products) {
  scratch.expanded.resize(
      std::max(scratch.expanded.size(), static_cast<std::size_t>(threads.count())));
  for (AlignedArray<float>& block : scratch.expanded) block.reserve(kBlockRows * x.cols);
  const auto blocks = cut_into_blocks(products, kBlockRows);
  std::atomic<bool> no_memory = false;
  threads.for_each_worker(blocks.size(), [&](std::size_t b, std::size_t worker) {
    if (!multiply_block(blocks[b], x, scratch.expanded[worker].data())) no_memory = true;
    add_bias(blocks[b]);
  });
  if (no_memory) throw std::bad_alloc();
}

}  // namespace restkv
