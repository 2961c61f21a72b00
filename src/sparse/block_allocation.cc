#include "sparse/block_allocation.h"

#include "base/check.h"

namespace restkv {
namespace {

constexpr std::size_t kLargest = kBlockSizes.back();

// What a head of this size takes of the common budget: summaries for each kLargest rows, or rows
// below kLargest.
std::size_t cost(BlockMean mean, std::size_t block_rows) {
  return mean == BlockMean::kHarmonic ? kLargest / block_rows : kLargest - block_rows;
}

}  // namespace

std::vector<int> allocate_blocks(std::span<const HeadRecall> recall, BlockMean mean,
                                 std::size_t mean_rows) {
  RESTKV_CHECK(kBlockSizes.front() <= mean_rows && mean_rows <= kLargest);
  const std::size_t heads = recall.size();
  // Rounded down: the mean is never below what was asked for.
  const std::size_t limit =
      mean == BlockMean::kHarmonic ? heads * kLargest / mean_rows : heads * (kLargest - mean_rows);
  std::vector<std::size_t> chosen(heads, kBlockSizes.size() - 1);
  std::size_t spent = heads * cost(mean, kLargest);
  while (true) {
    std::size_t best_head = heads;
    std::size_t best_size = 0;
    std::size_t best_extra = 0;
    double best_gain = 0;  // for each unit of cost
    for (std::size_t h = 0; h < heads; ++h) {
      for (std::size_t size = chosen[h]; size-- > 0;) {
        const std::size_t extra =
            cost(mean, kBlockSizes[size]) - cost(mean, kBlockSizes[chosen[h]]);
        if (spent + extra > limit) continue;
        const double gain = (recall[h][size] - recall[h][chosen[h]]) / static_cast<double>(extra);
        if (!(gain > best_gain)) continue;
        best_head = h;
        best_size = size;
        best_extra = extra;
        best_gain = gain;
      }
    }
    if (best_head == heads) break;
    chosen[best_head] = best_size;
    spent += best_extra;
  }
  std::vector<int> sizes;
  for (const std::size_t size : chosen) sizes.push_back(static_cast<int>(kBlockSizes[size]));
  return sizes;
}

}  // namespace restkv
