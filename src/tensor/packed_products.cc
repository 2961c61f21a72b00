// Products with packed weights: activations are rounded once into tiles, then blocks of panels are
// shared out among the threads.

#include <algorithm>

#include "kernels/tiles.h"
#include "tensor/linear_products.h"
#include "tensor/packed_weights.h"

namespace restkv {
namespace {

// All rows of x in tiles of up to kMostTileRows.
std::vector<ActivationTile> round_rows(const Threads& threads, LinearScratch& scratch,
                                       View2<const float> x, const KernelTable& kernels) {
  const std::size_t n_block = x.cols / kPackedBlock;
  const std::size_t row_bytes = n_block * (kPackedBlock + sizeof(ActivationBlock));
  scratch.quantised.reserve(x.rows * row_bytes);
  std::byte* next = scratch.quantised.data();
  std::vector<ActivationTile> tiles;
  for (std::size_t first = 0; first < x.rows; first += kMostTileRows) {
    const std::size_t rows = std::min(kMostTileRows, x.rows - first);
    tiles.push_back(
        {.quants = reinterpret_cast<std::int8_t*>(next),
         .blocks = reinterpret_cast<ActivationBlock*>(next + rows * x.cols),
         .rows = rows,
         .form = x.rows <= kFewRows ? ActivationForm::kSigned : ActivationForm::kOffset});
    next += rows * row_bytes;
  }
  threads.for_each(tiles.size(), [&](std::size_t t) {
    for (std::size_t r = 0; r < tiles[t].rows; ++r) {
      kernels.round_activations(x.row(t * kMostTileRows + r).data(), x.cols, tiles[t], r);
    }
  });
  return tiles;
}

struct PanelBlock {
  const WeightProduct* product;
  std::size_t first;
  std::size_t last;
};

// Few large blocks: each is read from end to end, and the start of one costs its thread little. As
// many for each thread, and of one size: of 7 blocks the second of two threads would have 3. Whole
// pairs of panels, because a vector may hold two.
std::vector<PanelBlock> cut_into_panels(const Threads& threads,
                                        std::span<const WeightProduct> products) {
  constexpr std::size_t kBlocksPerThread = 8;
  constexpr std::size_t kFewestPanels = kPanelsTogether;
  std::size_t panels = 0;
  for (const WeightProduct& product : products) panels += product.y.cols / kPanelRows + 1;
  const std::size_t blocks = static_cast<std::size_t>(threads.count()) * kBlocksPerThread;
  const std::size_t most = std::max(kFewestPanels, (panels + blocks - 1) / blocks);
  std::vector<PanelBlock> result;
  for (const WeightProduct& product : products) {
    const std::size_t n_panel = (product.y.cols + kPanelRows - 1) / kPanelRows;
    std::size_t count = (n_panel + most - 1) / most;
    if (count > 1) count = round_up(count, static_cast<std::size_t>(threads.count()));
    const std::size_t size = round_up((n_panel + count - 1) / count, 2);
    for (std::size_t first = 0; first < n_panel; first += size) {
      result.push_back(
          {.product = &product, .first = first, .last = std::min(n_panel, first + size)});
    }
  }
  return result;
}

}  // namespace

void multiply_packed(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                     std::span<const WeightProduct> products) {
  const auto tiles = round_rows(threads, scratch, x, *products.front().kernels);
  const std::size_t n_worker = static_cast<std::size_t>(threads.count());
  scratch.unpacked.resize(std::max(scratch.unpacked.size(), n_worker));
  for (auto& unpacked : scratch.unpacked) unpacked.reserve(packed_scratch_bytes(x.cols));
  const auto blocks = cut_into_panels(threads, products);
  threads.for_each_worker(blocks.size(), [&](std::size_t b, std::size_t worker) {
    const WeightProduct& product = *blocks[b].product;
    product.kernels->multiply_packed({.kind = *packed_kind(product.type->type),
                                      .weights = product.weights,
                                      .n_in = x.cols,
                                      .n_out = product.y.cols,
                                      .first_panel = blocks[b].first,
                                      .last_panel = blocks[b].last,
                                      .tiles = tiles,
                                      .bias = product.bias.empty() ? nullptr : product.bias.data(),
                                      .y = product.y.data,
                                      .y_stride = product.y.stride,
                                      .scratch = scratch.unpacked[worker].data()});
  });
}

}  // namespace restkv
