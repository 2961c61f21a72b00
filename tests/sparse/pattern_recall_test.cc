// How much of the true attention the listed rows hold, on queries and keys of a real layer and of a
// made one, by plain loops in f64. The figures are recorded as properties of the tests.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "sparse/pattern.h"
#include "support/golden.h"

namespace restkv {
namespace {

struct Layer {
  std::size_t n_head, n_kv_head, head_dim, tokens;
  std::vector<float> q;               // [tokens, n_head, head_dim]
  std::vector<float> keys;            // [n_kv_head, tokens, head_dim]
  std::vector<Position> positions;    // [tokens]
  std::vector<HeadRows> heads;        // [n_kv_head]
  std::vector<double> probabilities;  // [n_head, tokens, tokens], causal
  Threads threads{2};

  explicit Layer(const std::string& name) {
    const GoldenCase& golden = golden_case(name);
    const SafetensorsFile file = open_golden(golden);
    n_head = golden.dims.at("Hq");
    n_kv_head = golden.dims.at("Hkv");
    head_dim = golden.dims.at("d");
    tokens = golden.dims.at("n");
    keys = file.tensor("k").floats();
    const std::vector<float> by_head = file.tensor("q_full").floats();
    q.resize(by_head.size());
    for (std::size_t h = 0; h < n_head; ++h) {
      for (std::size_t i = 0; i < tokens; ++i) {
        std::copy_n(by_head.data() + (h * tokens + i) * head_dim, head_dim,
                    q.data() + (i * n_head + h) * head_dim);
      }
    }
    positions.resize(tokens);
    std::iota(positions.begin(), positions.end(), 0);
    for (std::size_t h = 0; h < n_kv_head; ++h) {
      const auto* const rows =
          reinterpret_cast<const std::byte*>(keys.data() + h * tokens * head_dim);
      heads.push_back({.keys = rows, .values = rows, .type = KvType::kF32, .positions = positions});
    }
    fill_probabilities();
  }

  [[nodiscard]] PatternInput input(std::size_t first) const {
    return {.tokens = tokens,
            .n_head = n_head,
            .head_dim = head_dim,
            .q = q.data() + first * n_head * head_dim,
            .token_stride = n_head * head_dim,
            .first = first,
            .count = tokens - first,
            .heads = heads,
            .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
                     .softcap = 0,
                     .sliding_window = 0},
            .kernels = &best_table(),
            .threads = &threads};
  }

 private:
  void fill_probabilities() {
    probabilities.resize(n_head * tokens * tokens);
    for (std::size_t h = 0; h < n_head; ++h) {
      const float* const head_keys = keys.data() + h * n_kv_head / n_head * tokens * head_dim;
      for (std::size_t i = 0; i < tokens; ++i) {
        double* const row = probabilities.data() + (h * tokens + i) * tokens;
        for (std::size_t j = 0; j <= i; ++j) {
          const float* const query = q.data() + (i * n_head + h) * head_dim;
          const double logit =
              std::inner_product(query, query + head_dim, head_keys + j * head_dim, 0.0);
          row[j] = std::exp(logit / std::sqrt(static_cast<double>(head_dim)));
        }
        const double sum = std::accumulate(row, row + i + 1, 0.0);
        for (std::size_t j = 0; j <= i; ++j) row[j] /= sum;
      }
    }
  }
};

struct Coverage {
  double recall = 0;   // attention held, mean over heads and queries
  double density = 0;  // visible rows read over visible rows
};

// Over all blocks but the last, which the engine reads densely.
Coverage coverage(const Layer& layer, const std::string& name,
                  const std::vector<ParamValues::Assignment>& options) {
  const PatternInfo* const info = pattern_by_name(name).value();
  const auto pattern = info->make(ParamValues::parse(info->name, info->params, options).value());
  const std::size_t first =
      info->needs == PatternNeeds::kLastQueries ? layer.tokens - kPatternLastQueries : 0;
  const auto choice = pattern->choose(layer.input(first));
  Coverage sum;
  double visible = 0;
  std::size_t queries = 0;
  std::vector<RowSpan> rows;
  for (std::size_t h = 0; h < layer.n_head; ++h) {
    for (std::size_t block = 0; (block + 1) * kPatternBlock < layer.tokens; ++block) {
      choice->rows(choice->per_head() ? h : 0, block, rows);
      for (std::size_t i = block * kPatternBlock; i < (block + 1) * kPatternBlock; ++i) {
        const double* const row =
            layer.probabilities.data() + (h * layer.tokens + i) * layer.tokens;
        for (const RowSpan& span : rows) {
          const std::size_t end = std::min<std::size_t>(span.end, i + 1);
          if (span.begin >= end) continue;
          sum.recall = std::accumulate(row + span.begin, row + end, sum.recall);
          sum.density += static_cast<double>(end - span.begin);
        }
        visible += static_cast<double>(i + 1);
        ++queries;
      }
    }
  }
  sum.recall /= static_cast<double>(queries);
  sum.density /= visible;
  std::string key = name;
  for (const auto& [option, value] : options) key += ":" + option + "=" + value;
  testing::Test::RecordProperty(key + " recall", std::to_string(sum.recall));
  testing::Test::RecordProperty(key + " density", std::to_string(sum.density));
  return sum;
}

class PatternRecall : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  }
};
INSTANTIATE_TEST_SUITE_P(, PatternRecall, testing::Values("real_l12_p768", "prefill_n2048"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(PatternRecall, XAttentionHoldsMoreOfItTheHigherTheThreshold) {
  const Layer layer(GetParam());
  Coverage before;
  for (const char* threshold : {"0.3", "0.5", "0.7", "0.9", "1"}) {
    const Coverage now =
        coverage(layer, "xattention", {{"stride", "8"}, {"block", "64"}, {"threshold", threshold}});
    EXPECT_GT(now.recall, now.density - 1e-9) << threshold;
    EXPECT_GE(now.recall, before.recall) << threshold;
    EXPECT_GE(now.density, before.density) << threshold;
    before = now;
  }
  EXPECT_NEAR(before.recall, 1.0, 1e-9);
  EXPECT_EQ(before.density, 1.0);
}

TEST_P(PatternRecall, EveryPatternHoldsMoreThanItsShareOfRows) {
  const Layer layer(GetParam());
  const std::pair<const char*, std::vector<ParamValues::Assignment>> patterns[] = {
      {"tri-shape", {{"init", "16"}, {"local", "128"}}},
      {"vertical-slash", {{"vertical", "64"}, {"slash", "128"}}},
      {"xattention", {}}};
  for (const auto& [name, options] : patterns) {
    const Coverage one = coverage(layer, name, options);
    EXPECT_GT(one.recall, one.density) << name;
  }
}

}  // namespace
}  // namespace restkv
