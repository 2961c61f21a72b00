#pragma once

// Blocks of queries for the tests of prefill's attention, and what they are compared with.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/measure.h"

namespace restkv::kernel_test {

struct Shape {
  std::size_t group;
  std::size_t head_dim;
  std::size_t n_query;
  std::size_t past;
};

// One block of queries with its keys and values. Rows that no query sees hold NaN.
struct Block {
  Shape shape;
  RowRanges ranges;
  std::size_t token_stride;
  std::vector<float> q;
  Rows keys;
  Rows values;
  AttentionRule rule;

  [[nodiscard]] PrefillAttentionArgs args(float* out, float* scratch) const {
    return {.q = q.data(),
            .out = out,
            .token_stride = token_stride,
            .n_query = shape.n_query,
            .group = shape.group,
            .head_dim = shape.head_dim,
            .keys = keys.view(),
            .values = values.view(),
            .row_begin = ranges.begin.data(),
            .row_end = ranges.end.data(),
            .rule = rule,
            .scratch = scratch};
  }
  [[nodiscard]] std::size_t scratch_size() const {
    return prefill_attention_scratch(shape.group, shape.head_dim);
  }
};

inline Block make_block(const Shape& shape, Sight sight, KvType type, float softcap,
                        float deviation) {
  Random random(shape.head_dim * 100 + shape.n_query);
  RowRanges ranges = make_ranges(sight, shape.n_query, shape.past);
  const std::size_t n = ranges.rows() * shape.head_dim;
  std::vector<float> keys = random.normals(n);
  std::vector<float> values = random.normals(n);
  const std::size_t unseen = ranges.begin.front() * shape.head_dim;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::fill_n(keys.begin(), unseen, kNan);
  std::fill_n(values.begin(), unseen, kNan);
  const std::size_t stride = shape.group * shape.head_dim + 3;
  return {.shape = shape,
          .ranges = std::move(ranges),
          .token_stride = stride,
          .q = random.normals(shape.n_query * stride, deviation),
          .keys = make_rows(type, shape.head_dim, keys),
          .values = make_rows(type, shape.head_dim, values),
          .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim)),
                   .softcap = softcap,
                   .sliding_window = 0}};
}

inline std::string name_of(const Block& block) {
  const Shape& s = block.shape;
  return "group " + std::to_string(s.group) + ", head_dim " + std::to_string(s.head_dim) +
         ", n_query " + std::to_string(s.n_query) + ", past " + std::to_string(s.past) + ", " +
         std::string(kv_type_name(block.keys.type));
}

// [n_query, token_stride]; what lies between tokens is 0.
inline std::vector<double> exact_outputs(const Block& block) {
  std::vector<double> out(block.q.size());
  for (std::size_t i = 0; i < block.shape.n_query; ++i) {
    for (std::size_t g = 0; g < block.shape.group; ++g) {
      const std::size_t at = i * block.token_stride + g * block.shape.head_dim;
      const std::size_t begin = block.ranges.begin[i];
      exact_mean(exact_probabilities(block.q.data() + at, block.keys, begin, block.ranges.end[i],
                                     block.rule),
                 block.values, begin, out.data() + at);
    }
  }
  return out;
}

inline std::vector<float> outputs(const KernelTable& table, const Block& block) {
  Guarded<float> out(std::vector<float>(block.q.size()), 1);
  Guarded<float> scratch(block.scratch_size());
  table.prefill_attention(block.args(out.data(), scratch.data()));
  EXPECT_TRUE(out.intact());
  EXPECT_TRUE(scratch.intact());
  return out.values();
}

// Mean over the group's heads, sum over the block's tokens, added to what was there.
inline std::vector<double> exact_column_sums(const Block& block, const std::vector<float>& before) {
  std::vector<double> sums(before.begin(), before.end());
  for (std::size_t i = 0; i < block.shape.n_query; ++i) {
    for (std::size_t g = 0; g < block.shape.group; ++g) {
      const std::size_t begin = block.ranges.begin[i];
      const std::vector<double> weights =
          exact_probabilities(block.q.data() + i * block.token_stride + g * block.shape.head_dim,
                              block.keys, begin, block.ranges.end[i], block.rule);
      for (std::size_t j = 0; j < weights.size(); ++j) {
        sums[begin + j] += weights[j] / static_cast<double>(block.shape.group);
      }
    }
  }
  return sums;
}

}  // namespace restkv::kernel_test
