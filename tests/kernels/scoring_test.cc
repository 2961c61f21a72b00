// What the eviction policies ask for: probabilities of a window, distances of outputs and weighted
// sums. Every table against the definitions in double. docs/kernels.md repeats the error budgets.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

// Relative L2 of probabilities.
constexpr double kBudget = 1.2e-6;
constexpr double kCappedBudget = 2e-6;
// Relative, each: exp's own error and what the sink's tile of 64 loses.
constexpr double kSinkBudget = 1e-6;

constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16};  // all that these operations take
constexpr std::size_t kWidths[] = {2, 6, 8, 16, 18, 40, 64, 80, 96, 100, 128, 256, 512};

struct Window {
  RowRanges ranges;
  std::size_t n_query;
  std::size_t head_dim;
  std::size_t rows;
  std::vector<float> q;
  Rows keys;
  AttentionRule rule;
};

struct WindowSetting {
  std::size_t n_query;
  std::size_t head_dim;
  std::size_t past;
  Sight sight = Sight::kCausal;
  KvType type = KvType::kF16;
  float softcap = 0.0F;
  float deviation = 1.0F;
};

Window make_window(const WindowSetting& setting) {
  constexpr std::size_t kRowsBeyond = 3;  // that no query sees
  RowRanges ranges = make_ranges(setting.sight, setting.n_query, setting.past);
  const std::size_t rows = ranges.rows() + kRowsBeyond;
  Random random(rows * 100 + setting.head_dim);
  // What no query sees must not show in any probability.
  std::vector<float> keys = random.normals(rows * setting.head_dim);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto seen_from = static_cast<std::ptrdiff_t>(ranges.begin.front() * setting.head_dim);
  std::fill(keys.begin(), keys.begin() + seen_from, kNan);
  std::fill(keys.end() - static_cast<std::ptrdiff_t>(kRowsBeyond * setting.head_dim), keys.end(),
            kNan);
  return {.ranges = std::move(ranges),
          .n_query = setting.n_query,
          .head_dim = setting.head_dim,
          .rows = rows,
          .q = random.normals(setting.n_query * setting.head_dim, setting.deviation),
          .keys = make_rows(setting.type, setting.head_dim, keys),
          .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(setting.head_dim)),
                   .softcap = setting.softcap,
                   .sliding_window = 0}};
}

std::vector<float> probabilities(const KernelTable& table, const Window& window) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  Guarded<float> out(std::vector<float>(window.n_query * window.rows, kNan), 1);
  table.window_attention({.q = window.q.data(),
                          .n_query = window.n_query,
                          .head_dim = window.head_dim,
                          .keys = window.keys.view(),
                          .rows = window.rows,
                          .row_begin = window.ranges.begin.data(),
                          .row_end = window.ranges.end.data(),
                          .rule = window.rule,
                          .out = out.data()});
  EXPECT_TRUE(out.intact());
  return out.values();
}

void expect_near_exact(const Window& window, double budget, Worst& worst) {
  SCOPED_TRACE("n_query " + std::to_string(window.n_query) + ", head_dim " +
               std::to_string(window.head_dim) + ", rows " + std::to_string(window.rows));
  std::vector<double> wanted(window.n_query * window.rows);
  for (std::size_t i = 0; i < window.n_query; ++i) {
    const std::size_t begin = window.ranges.begin[i];
    const std::vector<double> exact =
        exact_probabilities(window.q.data() + i * window.head_dim, window.keys, begin,
                            window.ranges.end[i], window.rule);
    std::ranges::copy(exact, wanted.begin() + static_cast<std::ptrdiff_t>(i * window.rows + begin));
  }
  for_each_table([&](const KernelTable& table) {
    const std::vector<float> got = probabilities(table, window);
    EXPECT_LE(worst(relative_l2(got, wanted)), budget);
    for (std::size_t i = 0; i < window.n_query; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < window.rows; ++j) {
        const float value = got[i * window.rows + j];
        sum += value;
        const bool seen = j >= window.ranges.begin[i] && j < window.ranges.end[i];
        EXPECT_TRUE(seen ? value >= 0.0F : value == 0.0F) << value << " of " << i << ' ' << j;
      }
      EXPECT_NEAR(sum, 1.0, 1e-6);
    }
  });
}

TEST(WindowAttention, IsNearTheDefinition) {
  Worst worst("window_attention, relative L2");
  std::size_t turn = 0;
  for (const std::size_t head_dim : kWidths) {
    for (const std::size_t n_query : {1U, 2U, 6U, 13U, 32U}) {
      for (const Sight sight : kAllSights) {
        const std::size_t past = ++turn * 7 % 90;
        for (const KvType type : kTypes) {
          expect_near_exact(make_window({.n_query = n_query,
                                         .head_dim = head_dim,
                                         .past = past,
                                         .sight = sight,
                                         .type = type}),
                            kBudget, worst);
        }
      }
    }
  }
  expect_near_exact(make_window({.n_query = 64, .head_dim = 16, .past = 40}), kBudget, worst);
}

// Equal probabilities of a power of two of rows are exact.
TEST(WindowAttention, OfZeroQueriesIsExactlyUniform) {
  for (const std::size_t head_dim : kWidths) {
    for (const KvType type : kTypes) {
      for (const std::size_t n_query : {1U, 7U, 13U}) {
        for (const std::uint32_t seen : {1U, 2U, 8U, 32U, 64U, 128U, 256U}) {
          for (const std::uint32_t first : {0U, 5U}) {
            SCOPED_TRACE("head_dim " + std::to_string(head_dim) + ", n_query " +
                         std::to_string(n_query) + ", rows " + std::to_string(first) + " and " +
                         std::to_string(seen));
            const std::size_t rows = first + seen + 3;
            const Window window{
                .ranges = {.begin = std::vector<std::uint32_t>(n_query, first),
                           .end = std::vector<std::uint32_t>(n_query, first + seen)},
                .n_query = n_query,
                .head_dim = head_dim,
                .rows = rows,
                .q = std::vector<float>(n_query * head_dim, 0.0F),
                .keys = make_rows(type, head_dim, Random(seen).integers(rows * head_dim, 63)),
                .rule = {.scale = 0.5F, .softcap = 0.0F, .sliding_window = 0}};
            std::vector<float> wanted(n_query * rows, 0.0F);
            for (std::size_t i = 0; i < n_query; ++i) {
              std::fill_n(wanted.begin() + static_cast<std::ptrdiff_t>(i * rows + first), seen,
                          1.0F / static_cast<float>(seen));
            }
            for_each_table([&](const KernelTable& table) {
              EXPECT_TRUE(same_bits(probabilities(table, window), wanted));
            });
          }
        }
      }
    }
  }
}

TEST(WindowAttention, CapsLogits) {
  Worst worst("window_attention, soft-capped, relative L2");
  for (const float deviation : {1.0F, 30.0F}) {
    expect_near_exact(
        make_window(
            {.n_query = 9, .head_dim = 64, .past = 70, .softcap = 20.0F, .deviation = deviation}),
        kCappedBudget, worst);
  }
}

TEST(WindowAttention, BearsExtremeLogits) {
  Worst worst("window_attention, extreme logits, relative L2");
  Window window = make_window({.n_query = 8, .head_dim = 64, .past = 80});
  Random random(8);
  window.q = random.integers(window.q.size(), 127);
  window.keys = make_rows(KvType::kF16, 64, random.integers(window.keys.expanded.size(), 15));
  window.rule.scale = 2.0F;
  expect_near_exact(window, kBudget, worst);
}

// A row that takes nearly all, before many that get little each: e^-17, which added to 1 is lost in
// f32. Together they weigh 1e-3.
TEST(WindowAttention, DoesNotLoseTheMany) {
  constexpr std::size_t kRows = 30'000;
  constexpr std::size_t kHeadDim = 2;
  for (const std::size_t sink : {std::size_t{0}, std::size_t{1000}, kRows - 1}) {
    std::vector<float> keys(kRows * kHeadDim, 0.0F);
    for (std::size_t j = 0; j < kRows; ++j) keys[j * kHeadDim] = j == sink ? 0.0F : -17.0F;
    const Window window{.ranges = {.begin = {0}, .end = {kRows}},
                        .n_query = 1,
                        .head_dim = kHeadDim,
                        .rows = kRows,
                        .q = {1.0F, 0.0F},
                        .keys = make_rows(KvType::kF32, kHeadDim, keys),
                        .rule = {.scale = 1.0F, .softcap = 0.0F, .sliding_window = 0}};
    const std::vector<double> wanted =
        exact_probabilities(window.q.data(), window.keys, 0, kRows, window.rule);
    Worst worst("window_attention with a sink, relative");
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> got = probabilities(table, window);
      for (const std::size_t j : {sink, (sink + 1) % kRows, kRows / 2}) {
        EXPECT_LE(worst(std::fabs(got[j] - wanted[j]) / wanted[j]), kSinkBudget) << j;
      }
    });
  }
}

// R at random, or null for the identity.
enum class Metric : std::uint8_t { kIdentity, kTriangular };

TEST(OutputDistances, AreNearTheDefinition) {
  Worst worst("output_distances, relative");
  for (const std::size_t head_dim : kWidths) {
    Random random(head_dim);
    std::vector<float> r(head_dim * head_dim);
    for (std::size_t i = 0; i < head_dim; ++i) {
      for (std::size_t j = i; j < head_dim; ++j) r[i * head_dim + j] = random.uniform(-1.0F, 1.0F);
    }
    for (const auto& [rows, type] :
         std::vector<std::pair<std::size_t, KvType>>{{1, KvType::kF16},
                                                     {1, KvType::kF32},
                                                     {7, KvType::kF16},
                                                     {7, KvType::kF32},
                                                     {16, KvType::kF16},
                                                     {16, KvType::kF32},
                                                     {37, KvType::kF16},
                                                     {37, KvType::kF32}}) {
      const Rows values = make_rows(type, head_dim, random.normals(rows * head_dim));
      const std::vector<float> center = random.normals(head_dim);
      for (const Metric metric : {Metric::kIdentity, Metric::kTriangular}) {
        SCOPED_TRACE("head_dim " + std::to_string(head_dim) + ", rows " + std::to_string(rows));
        std::vector<double> wanted(rows);
        for (std::size_t j = 0; j < rows; ++j) {
          double squares = 0;
          for (std::size_t i = 0; i < head_dim; ++i) {
            const auto offset = [&](std::size_t d) {
              return static_cast<double>(center[d]) - values.expanded[j * head_dim + d];
            };
            double component = metric == Metric::kIdentity ? offset(i) : 0.0;
            if (metric == Metric::kTriangular) {
              for (std::size_t d = i; d < head_dim; ++d)
                component += r[i * head_dim + d] * offset(d);
            }
            squares += component * component;
          }
          wanted[j] = std::sqrt(squares);
        }
        const float* const factor = metric == Metric::kTriangular ? r.data() : nullptr;
        for_each_table([&](const KernelTable& table) {
          Guarded<float> out(rows, 1);
          table.output_distances(factor, center.data(), values.view(), rows, head_dim, out.data());
          EXPECT_TRUE(out.intact());
          for (std::size_t j = 0; j < rows; ++j) {
            EXPECT_LE(worst(std::fabs(out.span()[j] - wanted[j]) / wanted[j]), 1e-6) << j;
          }
        });
      }
    }
  }
}

TEST(OutputDistances, FromTheCenterItselfIsZero) {
  const std::vector<float> center = Random(1).integers(40, 9);
  const std::vector<float> r(1600, 0.5F);
  const Rows values = make_rows(KvType::kF16, 40, center);
  for_each_table([&](const KernelTable& table) {
    float distance = 1.0F;
    table.output_distances(r.data(), center.data(), values.view(), 1, 40, &distance);
    EXPECT_EQ(distance, 0.0F);
  });
}

TEST(WeightedSum, OfSmallIntegersIsExact) {
  for (const std::size_t head_dim : kWidths) {
    for (const std::size_t rows : {0U, 1U, 63U, 64U, 65U, 200U}) {
      for (const KvType type : kTypes) {
        Random random(rows * 1000 + head_dim);
        const Rows values = make_rows(type, head_dim, random.integers(rows * head_dim, 63));
        const std::vector<float> weights = random.integers(rows, 31);
        std::vector<double> wanted(head_dim);
        exact_mean({weights.begin(), weights.end()}, values, 0, wanted.data());
        for_each_table([&](const KernelTable& table) {
          Guarded<float> out(head_dim, 1);
          table.weighted_sum(weights.data(), values.view(), rows, head_dim, out.data());
          EXPECT_TRUE(out.intact());
          for (std::size_t d = 0; d < head_dim; ++d) EXPECT_EQ(out.span()[d], wanted[d]) << d;
        });
      }
    }
  }
}

// "ref" adds row after row; the others add tiles of rows, so that their error hardly grows.
TEST(WeightedSum, IsNearTheExactSum) {
  Worst worst("weighted_sum, relative L2");
  Worst worst_in_tiles("weighted_sum in tiles, relative L2");
  constexpr std::size_t kRows = 3000;
  Random random(6);
  const Rows values = make_rows(KvType::kF16, 24, random.normals(kRows * 24));
  std::vector<float> weights(kRows);
  for (float& weight : weights) weight = random.uniform(0.0F, 1.0F);
  std::vector<double> wanted(24);
  exact_mean({weights.begin(), weights.end()}, values, 0, wanted.data());
  for_each_table([&](const KernelTable& table) {
    std::vector<float> out(24);
    table.weighted_sum(weights.data(), values.view(), kRows, 24, out.data());
    if (table.name == "ref") {
      EXPECT_LE(worst(relative_l2(out, wanted)), 2e-6);
    } else {
      EXPECT_LE(worst_in_tiles(relative_l2(out, wanted)), 5e-7);
    }
  });
}

// Values, what they are multiplied by, and the sizes of their products in double.
struct Projected {
  Rows values;
  std::vector<float> columns;
  std::vector<double> sizes;
};

Projected project(Rows values, std::vector<float> columns, std::size_t n_out) {
  const std::size_t head_dim = values.head_dim;
  std::vector<double> sizes(values.expanded.size() / head_dim);
  for (std::size_t j = 0; j < sizes.size(); ++j) {
    for (std::size_t i = 0; i < n_out; ++i) {
      double component = 0;
      for (std::size_t d = 0; d < head_dim; ++d) {
        component +=
            static_cast<double>(values.expanded[j * head_dim + d]) * columns[d * n_out + i];
      }
      sizes[j] += std::abs(component);
    }
  }
  return {.values = std::move(values), .columns = std::move(columns), .sizes = std::move(sizes)};
}

// body(n_out, rows, type) for numbers of columns around vectors and panels, rows around tiles.
template <class Body>
void for_each_projection(Body&& body) {
  for (const std::size_t n_out : {1U, 31U, 32U, 70U}) {
    for (const std::size_t rows : {0U, 1U, 6U, 12U, 25U}) {
      for (const KvType type : kTypes) body(n_out, rows, type);
    }
  }
}

std::vector<float> projected_sizes(const KernelTable& table, const Projected& one,
                                   std::size_t n_out) {
  Guarded<float> out(one.sizes.size(), 1);
  table.projected_sizes(
      {.columns = one.columns.data(), .head_dim = one.values.head_dim, .n_out = n_out},
      one.values.view(), one.sizes.size(), out.data());
  EXPECT_TRUE(out.intact());
  return out.values();
}

// The budget is that of up to 512 products that are added one after the other, for a single
// component; those of many add up to less.
TEST(ProjectedSizes, AreNearTheExactSums) {
  Worst worst("projected_sizes, relative to a usual size");
  for (const std::size_t head_dim : kWidths) {
    for_each_projection([&](std::size_t n_out, std::size_t rows, KvType type) {
      Random random(rows * 1000 + head_dim + n_out);
      Rows values = make_rows(type, head_dim, random.normals(rows * head_dim));
      const Projected one = project(std::move(values), random.normals(head_dim * n_out), n_out);
      // What such a sum is like: that of a single component may be nearly 0 by chance.
      const double usual = static_cast<double>(n_out) * std::sqrt(static_cast<double>(head_dim));
      for_each_table([&](const KernelTable& table) {
        const std::vector<float> sizes = projected_sizes(table, one, n_out);
        for (std::size_t j = 0; j < rows; ++j) {
          EXPECT_LE(worst(std::abs(sizes[j] - one.sizes[j]) / usual), 4e-6) << head_dim;
        }
      });
    });
  }
}

TEST(ProjectedSizes, OfSmallIntegersAreExact) {
  for (const std::size_t head_dim : kWidths) {
    for_each_projection([&](std::size_t n_out, std::size_t rows, KvType type) {
      Random random(rows * 1000 + head_dim + n_out);
      Rows values = make_rows(type, head_dim, random.integers(rows * head_dim, 7));
      const Projected one = project(std::move(values), random.integers(head_dim * n_out, 7), n_out);
      for_each_table([&](const KernelTable& table) {
        const std::vector<float> sizes = projected_sizes(table, one, n_out);
        for (std::size_t j = 0; j < rows; ++j) EXPECT_EQ(sizes[j], one.sizes[j]) << head_dim;
      });
    });
  }
}

}  // namespace
}  // namespace restkv::kernel_test
