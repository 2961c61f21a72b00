// Attention over listed rows: every table against the definition in double over just these rows,
// and against prefill_attention, bit for bit, where the list has them all. docs/kernels.md repeats
// the error budget.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/attention_tables.h"
#include "kernels/measure.h"
#include "kernels/prefill_blocks.h"

namespace restkv::kernel_test {
namespace {

constexpr Shape kShapes[] = {
    {1, 64, 64, 300}, {1, 8, 1, 0},     {2, 6, 5, 62},  {7, 16, 13, 63}, {1, 40, 64, 130},
    {4, 80, 11, 30},  {1, 128, 64, 90}, {3, 18, 25, 1}, {2, 96, 33, 75}, {1, 256, 31, 47},
};

struct Case : Block {
  std::vector<RowSpan> listed;
};

bool is_listed(const std::vector<RowSpan>& listed, std::size_t row) {
  return std::ranges::any_of(
      listed, [&](const RowSpan& span) { return span.begin <= row && row < span.end; });
}

// Single rows, short runs and long ones, with holes of all lengths; and each token's own last row.
std::vector<RowSpan> random_list(Random& random, const RowRanges& ranges) {
  std::vector<bool> rows(ranges.rows(), false);
  for (std::size_t at = 0; at < rows.size();) {
    at += random.below(random.below(2) == 0 ? 4 : 90);
    const std::size_t end = std::min(rows.size(), at + 1 + random.below(at % 3 == 0 ? 100 : 3));
    for (; at < end; ++at) rows[at] = true;
    ++at;
  }
  for (const std::uint32_t end : ranges.end) rows[end - 1] = true;
  std::vector<RowSpan> listed;
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    if (!rows[row]) continue;
    if (listed.empty() || listed.back().end != row) listed.push_back({.begin = row, .end = row});
    ++listed.back().end;
  }
  return listed;
}

// Rows that are not listed, or that no token sees, hold NaN.
Case make_case(const Shape& shape, Sight sight, KvType type, std::uint64_t seed) {
  Random random(seed);
  RowRanges ranges = make_ranges(sight, shape.n_query, shape.past);
  std::vector<RowSpan> listed = random_list(random, ranges);
  std::vector<float> keys = random.normals(ranges.rows() * shape.head_dim);
  std::vector<float> values = random.normals(keys.size());
  for (std::size_t row = 0; row < ranges.rows(); ++row) {
    if (is_listed(listed, row) && row >= ranges.begin.front()) continue;
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const auto at = static_cast<std::ptrdiff_t>(row * shape.head_dim);
    std::fill_n(keys.begin() + at, shape.head_dim, kNan);
    std::fill_n(values.begin() + at, shape.head_dim, kNan);
  }
  const std::size_t stride = shape.group * shape.head_dim;
  return {{.shape = shape,
           .ranges = std::move(ranges),
           .token_stride = stride,
           .q = random.normals(shape.n_query * stride),
           .keys = make_rows(type, shape.head_dim, keys),
           .values = make_rows(type, shape.head_dim, values),
           .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim)),
                    .softcap = seed % 4 == 0 ? 30.0F : 0.0F,
                    .sliding_window = 0}},
          std::move(listed)};
}

std::vector<float> sparse_outputs(const KernelTable& table, const Case& one,
                                  std::span<const RowSpan> listed) {
  Guarded<float> out(std::vector<float>(one.q.size()), 1);
  Guarded<float> scratch(one.scratch_size());
  table.sparse_attention({.block = one.args(out.data(), scratch.data()), .listed = listed});
  EXPECT_TRUE(out.intact());
  EXPECT_TRUE(scratch.intact());
  return out.values();
}

// The rows that are both listed and visible, put side by side, and attention over all of these.
std::vector<double> exact_listed_outputs(const Case& one) {
  const std::size_t d = one.shape.head_dim;
  std::vector<double> out(one.q.size());
  for (std::size_t i = 0; i < one.shape.n_query; ++i) {
    Rows keys{.type = one.keys.type, .head_dim = d, .bytes = {}, .expanded = {}};
    Rows values = keys;
    for (std::size_t row = one.ranges.begin[i]; row < one.ranges.end[i]; ++row) {
      if (!is_listed(one.listed, row)) continue;
      const auto add = [&](const Rows& from, Rows& to) {
        const auto at = from.expanded.begin() + static_cast<std::ptrdiff_t>(row * d);
        to.expanded.insert(to.expanded.end(), at, at + static_cast<std::ptrdiff_t>(d));
      };
      add(one.keys, keys);
      add(one.values, values);
    }
    for (std::size_t g = 0; g < one.shape.group; ++g) {
      const std::size_t at = (i * one.shape.group + g) * d;
      const std::vector<double> weights =
          exact_probabilities(one.q.data() + at, keys, 0, keys.expanded.size() / d, one.rule);
      exact_mean(weights, values, 0, out.data() + at);
    }
  }
  return out;
}

TEST(SparseAttention, IsNearTheDefinition) {
  WorstOfTables worst("sparse_attention");
  std::uint64_t seed = 1;
  for (const Shape& shape : kShapes) {
    for (const Sight sight : kAllSights) {
      for (const KvType type : {KvType::kF32, KvType::kF16}) {
        const Case one = make_case(shape, sight, type, seed++);
        SCOPED_TRACE("seed " + std::to_string(seed - 1));
        const std::vector<double> wanted = exact_listed_outputs(one);
        for_each_attention_table([&](const KernelTable& table) {
          EXPECT_LE(worst(table, relative_l2(sparse_outputs(table, one, one.listed), wanted)),
                    attention_budget(table, one.rule));
        });
      }
    }
  }
}

// Of 2 * count rows: every second one, a run in the middle, two runs at the ends.
std::vector<std::vector<RowSpan>> lists_of(std::uint32_t count) {
  std::vector<RowSpan> single;
  for (std::uint32_t row = 1; row < 2 * count; row += 2) {
    single.push_back({.begin = row, .end = row + 1});
  }
  std::vector<std::vector<RowSpan>> lists = {single,
                                             {{.begin = count / 2, .end = count / 2 + count}}};
  if (count > 1) {
    lists.push_back(
        {{.begin = 0, .end = count / 2}, {.begin = 2 * count - count / 2, .end = 2 * count}});
  }
  return lists;
}

// Equal weights over a power of two of listed rows of small whole numbers: every operation is
// exact. Rows that are not listed hold NaN.
TEST(SparseAttention, OfZeroQueriesIsTheExactMean) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      for (const std::uint32_t count : {1U, 2U, 32U, 64U, 128U}) {
        for (const std::vector<RowSpan>& listed : lists_of(count)) {
          SCOPED_TRACE("head_dim " + std::to_string(head_dim) + ", " + std::to_string(count) +
                       " rows in " + std::to_string(listed.size()));
          const std::size_t rows = std::size_t{2} * count;
          const std::size_t n_query = std::min<std::size_t>(rows, 5);
          Case one = make_case({2, head_dim, n_query, rows - n_query}, Sight::kEqual, type, 1);
          one.listed = listed;
          std::ranges::fill(one.q, 0.0F);
          std::vector<float> keys(rows * head_dim, kNan);
          std::vector<float> values = keys;
          std::vector<float> seen;
          const std::vector<float> whole = whole_numbers(type, keys.size());
          for (std::size_t i = 0; i < keys.size(); ++i) {
            if (!is_listed(listed, i / head_dim)) continue;
            keys[i] = whole[whole.size() - 1 - i];
            values[i] = whole[i];
            seen.push_back(whole[i]);
          }
          one.keys = make_rows(type, head_dim, keys);
          one.values = make_rows(type, head_dim, values);
          const std::vector<float> mean = mean_of_rows(seen, head_dim);
          for_each_attention_table([&](const KernelTable& table) {
            const std::vector<float> out = sparse_outputs(table, one, listed);
            for (std::size_t at = 0; at < out.size(); at += head_dim) {
              EXPECT_TRUE(same_bits(std::span(out).subspan(at, head_dim), mean)) << at;
            }
          });
        }
      }
    }
  }
}

// A list of everything, whole or in pieces of any length, changes no bit.
TEST(SparseAttention, OfAllRowsIsPrefillAttention) {
  Random random(5);
  for (const Shape& shape : kShapes) {
    for (const Sight sight : kAllSights) {
      Case one = make_case(shape, sight, KvType::kF16, 1);
      one.keys = make_rows(KvType::kF16, shape.head_dim,
                           random.normals(one.ranges.rows() * shape.head_dim));
      one.values = make_rows(KvType::kF16, shape.head_dim,
                             random.normals(one.ranges.rows() * shape.head_dim));
      const auto n = static_cast<std::uint32_t>(one.ranges.rows());
      std::vector<RowSpan> pieces;
      for (std::uint32_t at = 0; at < n;) {
        const auto length = 1 + static_cast<std::uint32_t>(random.below(99));
        const std::uint32_t end = std::min(n, at + length);
        pieces.push_back({.begin = at, .end = end});
        at = end;
      }
      const std::vector<RowSpan> more_than_visible = {{.begin = 0, .end = n + 1000}};
      for_each_attention_table([&](const KernelTable& table) {
        const std::vector<float> dense = outputs(table, one);
        EXPECT_TRUE(same_bits(sparse_outputs(table, one, pieces), dense));
        EXPECT_TRUE(same_bits(sparse_outputs(table, one, more_than_visible), dense));
      });
    }
  }
}

}  // namespace
}  // namespace restkv::kernel_test
