// What the boxes of blocks promise a query.

#include <algorithm>
#include <cstring>

#include "kernels/element_types.h"
#include "kernels/ref/operations.h"

namespace restkv::ref {
namespace {

float half_at(const std::byte* halves, std::size_t i) { return element::f16_at(halves + 2 * i); }

// Value `column` of block `slot` of a run.
float box_value(const BoxScoreArgs& args, const std::byte* run, std::size_t column,
                std::size_t slot) {
  const std::size_t dim = args.head_dim;
  const std::byte* const columns = run + run_head_bytes(args.type, dim);
  if (args.type == SummaryType::kF16) return half_at(columns, column * kRunBlocks + slot);
  int code = 0;
  if (args.type == SummaryType::kInt8) {
    code = static_cast<int>(columns[column * kRunBlocks + slot]);
  } else {
    const int both = static_cast<int>(columns[column % dim * kRunBlocks + slot]);
    code = column < dim ? both & 15 : both >> 4;
  }
  return half_at(run, column) + half_at(run, 2 * dim + column) * static_cast<float>(code);
}

}  // namespace

void score_boxes(const BoxScoreArgs& args) {
  const std::size_t dim = args.head_dim;
  for (std::size_t block = 0; block < args.blocks; ++block) {
    const std::byte* const run = args.runs + block / kRunBlocks * run_bytes(args.type, dim);
    float box[2 * kMaxHeadDim] = {};
    for (std::size_t i = 0; i < 2 * dim; ++i) box[i] = box_value(args, run, i, block % kRunBlocks);
    float merged = 0.0F;
    for (std::size_t g = 0; g < args.group; ++g) {
      const float* const q = args.q + g * dim;
      float sum = 0.0F;
      for (std::size_t d = 0; d < dim; ++d) sum += q[d] * (q[d] > 0.0F ? box[dim + d] : box[d]);
      if (g == 0) {
        merged = sum;
      } else {
        merged = args.merge == HeadMerge::kMax ? std::max(merged, sum) : merged + sum;
      }
    }
    args.scores[block] =
        args.merge == HeadMerge::kMean ? merged / static_cast<float>(args.group) : merged;
  }
}

}  // namespace restkv::ref
