#include "tensor/linear_products.h"

#include <algorithm>

namespace restkv {
namespace {

// Rows of x that are multiplied with a few weight rows while both stay in the first-level cache.
constexpr std::size_t kTileRows = 16;

// x rounded to every partner type that the products need, one copy after the other.
class RoundedRows {
 public:
  RoundedRows(const Threads& threads, LinearScratch& scratch, View2<const float> x,
              std::span<const WeightProduct> products);

  [[nodiscard]] const std::byte* row(const WeightType& type, std::size_t i) const {
    for (const Copy& copy : copies_) {
      if (copy.type->partner == type.partner) return copy.data + i * copy.row_bytes;
    }
    return nullptr;
  }

 private:
  struct Copy {
    const WeightType* type;
    std::size_t row_bytes;
    std::byte* data;
  };
  std::vector<Copy> copies_;
};

RoundedRows::RoundedRows(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                         std::span<const WeightProduct> products) {
  std::size_t bytes = 0;
  for (const WeightProduct& product : products) {
    const ggml_type partner = product.type->partner;
    const auto same = [partner](const Copy& copy) { return copy.type->partner == partner; };
    if (std::ranges::any_of(copies_, same)) continue;
    const std::size_t row_bytes = product.type->partner_bytes(x.cols);
    copies_.push_back({.type = product.type, .row_bytes = row_bytes, .data = nullptr});
    bytes += (row_bytes * x.rows + kAlignment - 1) / kAlignment * kAlignment;
  }
  scratch.quantised.reserve(bytes);
  std::byte* next = scratch.quantised.data();
  for (Copy& copy : copies_) {
    copy.data = next;
    next += (copy.row_bytes * x.rows + kAlignment - 1) / kAlignment * kAlignment;
    threads.for_each(x.rows, [&copy, &x](std::size_t i) {
      copy.type->to_partner(x.row(i).data(), copy.data + i * copy.row_bytes,
                            static_cast<std::int64_t>(x.cols));
    });
  }
}

// Enough blocks to keep all threads busy to the end, few enough not to feel their start.
std::size_t rows_per_block(const Threads& threads, std::span<const WeightProduct> products) {
  constexpr std::size_t kBlocksPerThread = 4;
  std::size_t rows = 0;
  for (const WeightProduct& product : products) rows += product.y.cols;
  const std::size_t blocks = static_cast<std::size_t>(threads.count()) * kBlocksPerThread;
  return std::max((rows + blocks - 1) / blocks, kTileRows);
}

}  // namespace

void multiply_quantised(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                        std::span<const WeightProduct> products) {
  const RoundedRows rounded(threads, scratch, x, products);
  const auto blocks = cut_into_blocks(products, rows_per_block(threads, products));
  threads.for_each(blocks.size(), [&](std::size_t b) {
    const RowBlock& block = blocks[b];
    const WeightType& type = *block.product->type;
    const View2<float>& y = block.product->y;
    for (std::size_t j0 = block.first; j0 < block.last; j0 += kTileRows) {
      const std::size_t j1 = std::min(j0 + kTileRows, block.last);
      for (std::size_t i0 = 0; i0 < x.rows; i0 += kTileRows) {
        const std::size_t i1 = std::min(i0 + kTileRows, x.rows);
        for (std::size_t j = j0; j < j1; ++j) {
          for (std::size_t i = i0; i < i1; ++i) {
            type.dot(static_cast<int>(x.cols), y.data + i * y.stride + j, 0, block.product->row(j),
                     0, rounded.row(type, i), 0, 1);
          }
        }
      }
    }
    add_bias(block);
  });
}

void multiply_exact(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                    std::span<const WeightProduct> products) {
  scratch.expanded.resize(
      std::max(scratch.expanded.size(), static_cast<std::size_t>(threads.count())));
  for (AlignedArray<float>& row : scratch.expanded) row.reserve(x.cols);
  const auto blocks = cut_into_blocks(products, rows_per_block(threads, products));
  threads.for_each_worker(blocks.size(), [&](std::size_t b, std::size_t worker) {
    const RowBlock& block = blocks[b];
    const View2<float>& y = block.product->y;
    float* weights = scratch.expanded[worker].data();
    for (std::size_t j = block.first; j < block.last; ++j) {
      block.product->type->expand(block.product->row(j), x.cols, weights);
      for (std::size_t i = 0; i < x.rows; ++i) {
        y.data[i * y.stride + j] = dot_f32(weights, x.row(i).data(), x.cols);
      }
    }
    add_bias(block);
  });
}

std::vector<RowBlock> cut_into_blocks(std::span<const WeightProduct> products, std::size_t most) {
  std::vector<RowBlock> blocks;
  for (const WeightProduct& product : products) {
    const std::size_t rows = product.y.cols;
    const std::size_t count = (rows + most - 1) / most;
    for (std::size_t i = 0; i < count; ++i) {
      blocks.push_back(
          {.product = &product, .first = rows * i / count, .last = rows * (i + 1) / count});
    }
  }
  return blocks;
}

void add_bias(const RowBlock& block) {
  const std::span<const float> bias = block.product->bias;
  if (bias.empty()) return;
  const View2<float>& y = block.product->y;
  for (std::size_t i = 0; i < y.rows; ++i) {
    for (std::size_t j = block.first; j < block.last; ++j) y.data[i * y.stride + j] += bias[j];
  }
}

}  // namespace restkv
