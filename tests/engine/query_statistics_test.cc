// Mean and covariance of queries before RoPE, gathered from queries after it.

#include "engine/query_statistics.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

#include "model/rope.h"

namespace restkv {
namespace {

constexpr std::size_t kHeads = 3;
constexpr std::size_t kDim = 16;

struct Setting {
  bool adjacent = false;
  int n_rot = 16;
  double magnitude = 1.0;
  Position first = 0;
  std::size_t tokens = 300;
  std::vector<std::size_t> chunks = {64, 100, 1, 135};
};

// Queries with a large mean, as biases give them.
std::vector<float> random_queries(std::size_t tokens) {
  std::mt19937 engine(7);
  std::normal_distribution<float> normal;
  std::vector<float> queries(tokens * kHeads * kDim);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    queries[i] = normal(engine) + (i % kDim == 3 ? 40.0F : 0.0F);
  }
  return queries;
}

void expect_statistics(const Setting& setting, int threads) {
  const std::vector<float> plain = random_queries(setting.tokens);
  std::vector<float> turned = plain;
  std::vector<Position> positions(setting.tokens);
  std::iota(positions.begin(), positions.end(), setting.first);
  const YarnConfig yarn{.attn_factor = setting.magnitude};
  RopeAngles angles;
  angles.compute({}, yarn, setting.n_rot, {}, positions);
  const KernelTable& kernels = best_table();
  std::vector<const float*> rows;
  for (std::size_t t = 0; t < setting.tokens; ++t) {
    rows.push_back(angles.row(t));
    for (std::size_t head = 0; head < kHeads; ++head) {
      const auto turn = setting.adjacent ? kernels.rope_adjacent : kernels.rope_halves;
      turn(turned.data() + (t * kHeads + head) * kDim, angles.row(t),
           static_cast<std::size_t>(setting.n_rot));
    }
  }

  QueryAccumulator accumulator(kHeads, kDim, threads);
  const Threads pool(threads);
  // What was there before must be gone.
  for (const bool again : {false, true}) {
    accumulator.reset();
    std::size_t first = 0;
    for (const std::size_t count : setting.chunks) {
      accumulator.add(kernels, pool,
                      {.queries = {turned.data() + first * kHeads * kDim, count, kHeads * kDim},
                       .positions = std::span<const Position>(positions).subspan(first, count),
                       .angles = std::span<const float* const>(rows).subspan(first, count),
                       .n_rot = static_cast<std::size_t>(setting.n_rot),
                       .adjacent = setting.adjacent,
                       .magnitude = setting.magnitude});
      first += count;
      if (!again) break;
    }
  }

  const QueryStatistics found = accumulator.statistics();
  const std::size_t start = setting.first < 4 ? static_cast<std::size_t>(4 - setting.first) : 0;
  const auto count = static_cast<double>(setting.tokens - start);
  ASSERT_EQ(found.count, setting.tokens - start);
  for (std::size_t head = 0; head < kHeads; ++head) {
    const auto query = [&](std::size_t t, std::size_t d) {
      return double{plain[(t * kHeads + head) * kDim + d]};
    };
    std::vector<double> mean(kDim, 0.0);
    for (std::size_t t = start; t < setting.tokens; ++t) {
      for (std::size_t d = 0; d < kDim; ++d) mean[d] += query(t, d) / count;
    }
    for (std::size_t r = 0; r < kDim; ++r) {
      ASSERT_NEAR(found.means.row(head)[r], mean[r], 1e-5);
      for (std::size_t c = 0; c < kDim; ++c) {
        double covariance = 0;
        for (std::size_t t = start; t < setting.tokens; ++t) {
          covariance += (query(t, r) - mean[r]) * (query(t, c) - mean[c]) / count;
        }
        ASSERT_NEAR(found.covariances.plane(head).row(r)[c], covariance, 1e-5)
            << "head " << head << " " << r << ", " << c;
      }
    }
  }
}

TEST(QueryStatistics, AreThoseOfTheQueriesBeforeRope) {
  expect_statistics({}, 1);
  expect_statistics({.adjacent = true}, 2);
  expect_statistics({.n_rot = 10, .magnitude = 1.4}, 3);
  expect_statistics({.adjacent = true, .n_rot = 12, .magnitude = 0.7, .first = 1000}, 1);
  expect_statistics({.first = 2, .tokens = 3, .chunks = {1, 1, 1}}, 1);
}

TEST(QueryStatistics, OfNoQueriesAreZero) {
  QueryAccumulator accumulator(1, 4, 1);
  const QueryStatistics none = accumulator.statistics();
  EXPECT_EQ(none.count, 0U);
  for (const double x : none.means.row(0)) EXPECT_EQ(x, 0);
  EXPECT_EQ(none.covariances.plane(0).row(3)[3], 0);
}

}  // namespace
}  // namespace restkv
