// What all tables share about attention: the size of the scratch and the merging of partials.

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"
#include "kernels/tiles.h"

namespace restkv {

std::size_t prefill_attention_scratch(std::size_t group, std::size_t head_dim) {
  // What the form with the largest of each needs: that of the tile unit (hwy/prefill_tiles-inl.h),
  // whose queries are three numbers of half the size and whose keys may be.
  const std::size_t dim = round_up(head_dim, kUnitDepth);
  const std::size_t queries = round_up(group * kMaxQueryBlock, kQueryPadding);
  const std::size_t keys = dim * kKeyTile * 3 / 2;
  const std::size_t values = dim * kKeyTile;
  const std::size_t queries_and_outputs = queries * dim * 3 / 2 + queries * dim;
  const std::size_t sums_by_lane = queries * kLineFloats;
  const std::size_t max_and_sum = 2 * queries;
  return keys + values + queries_and_outputs + sums_by_lane + max_and_sum;
}

std::size_t kept_weights_size(std::size_t group, std::size_t n_query, std::size_t rows) {
  const std::size_t queries = round_up(group * n_query, kQueryPadding);
  const std::size_t tiles = rows / kKeyTile + 2;  // the first and the last may be seen in part
  return tiles * queries * (kKeyTile + 1);
}

void merge_decode(const float* partials, std::size_t n, std::size_t group, std::size_t head_dim,
                  float* out) {
  const std::size_t size = decode_partial_size(group, head_dim);
  for (std::size_t g = 0; g < group; ++g) {
    float max = -std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < n; ++i) max = std::max(max, partials[i * size + g]);
    float* const to = out + g * head_dim;
    std::fill_n(to, head_dim, 0.0F);
    float sum = 0.0F;
    for (std::size_t i = 0; i < n; ++i) {
      const float* const partial = partials + i * size;
      if (partial[group + g] == 0.0F) continue;  // a segment without rows
      const float factor = std::exp(partial[g] - max);
      sum += factor * partial[group + g];
      const float* const acc = partial + 2 * group + g * head_dim;
      for (std::size_t d = 0; d < head_dim; ++d) to[d] += factor * acc[d];
    }
    if (sum > 0.0F) {
      for (std::size_t d = 0; d < head_dim; ++d) to[d] /= sum;
    }
  }
}

}  // namespace restkv
