// The other policies against the arrays of their published code.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/golden_layers.h"

namespace restkv {
namespace {

struct Published {
  const char* method;
  const char* policy;
  GoldenHeads heads;
};
constexpr Published kMethods[] = {
    {"snapkv.avg5", "snapkv:pooling=avg:kernel=5", GoldenHeads::kQuery},
    {"snapkv.avg7", "snapkv:pooling=avg:kernel=7", GoldenHeads::kQuery},
    {"snapkv.max7", "snapkv:pooling=max:kernel=7", GoldenHeads::kQuery},
    {"snapkv.avg5.kvhead", "snapkv:pooling=avg:kernel=5", GoldenHeads::kKv},
    {"snapkv.max7.kvhead", "snapkv:pooling=max:kernel=7", GoldenHeads::kKv},
    {"tova", "tova", GoldenHeads::kKv},
    {"streamingllm", "streaming-llm", GoldenHeads::kKv},
    {"knorm", "knorm", GoldenHeads::kKv},
    {"criticalkv", "criticalkv", GoldenHeads::kKv},
    {"expected_attention", "expected-attention", GoldenHeads::kKv},
    {"expected_attention_eps", "expected-attention:epsilon=0.01", GoldenHeads::kKv},
    {"expected_attention_nocov", "expected-attention:covariance=off", GoldenHeads::kKv},
    {"h2o", "h2o", GoldenHeads::kQuery},
    {"h2o.kvhead", "h2o", GoldenHeads::kKv},
    {"keydiff", "keydiff", GoldenHeads::kKv},
    {"lagkv", "lagkv", GoldenHeads::kKv},
    {"observed_attention", "observed-attention", GoldenHeads::kKv},
};

// Arrays between the observation and the score that a scorer shows under the same name.
constexpr const char* kSteps[] = {"softmax", "base", "wov_l1"};

void expect_golden(GoldenRun run) {
  std::set<std::string> compared;
  run.keep = run.method->name;
  run.compared = &compared;
  const std::string array = run.method->name + ".score";
  // A case that is not over its budget has scores but no keep sets, or the other way round.
  const bool with_keep = std::ranges::any_of(run.method->outputs, [](const auto& output) {
    return output.first.find(".keep.") != std::string::npos;
  });
  const auto check = [&](std::size_t /*budget*/, const HeadScores& scores,
                         const RecordedTrace& trace) {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      if (run.method->outputs.contains(array)) {
        const std::size_t golden_rows = run.file->tensor(array).shape[0];
        expect_golden_row(run, array, golden_rows == 1 ? 0 : h, scores[h]);
      }
      for (const char* const step : kSteps) {
        const std::string name = run.method->name + "." + step;
        if (!run.method->outputs.contains(name)) continue;
        expect_golden_row(run, name, h, trace.of(step, static_cast<int>(h)));
      }
    }
  };
  if (with_keep) {
    expect_golden_keep_sets(run, check);
  } else {
    RecordedTrace trace;
    const HeadScores scores = scores_of(
        {.policy = run.policy, .window = kGoldenWindow, .kernels = run.kernels, .trace = &trace},
        run.layer->observation());
    check(0, scores, trace);
  }
  expect_all_compared(*run.method, compared);
}

class GoldenOthers : public testing::TestWithParam<std::string> {};

TEST_P(GoldenOthers, EveryArrayAndEverySelection) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case(GetParam());
  const SafetensorsFile file = open_golden(golden);
  GoldenLayer query_heads(golden, file, GoldenHeads::kQuery);
  GoldenLayer kv_heads(golden, file, GoldenHeads::kKv);
  if (const GoldenMethod* expected = golden.method("expected_attention")) {
    kv_heads.count_queries(file, expected->rope_theta);
  }
  for (const KernelTable* table : golden_tables(golden)) {
    SCOPED_TRACE(table->name);
    if (file.has("q_full")) {
      query_heads.sum_columns(*table);
      kv_heads.sum_columns(*table);
    }
    for (const Published& published : kMethods) {
      const GoldenMethod* method = golden.method(published.method);
      if (method == nullptr) continue;
      expect_golden({.golden = &golden,
                     .file = &file,
                     .method = method,
                     .layer = published.heads == GoldenHeads::kKv ? &kv_heads : &query_heads,
                     .policy = published.policy,
                     .kernels = table});
    }
  }
}

const std::vector<std::string> kCases = {
    "real_l00_n2607", "real_l03_n2607", "real_l12_n2607", "real_l21_n2607", "real_l12_p768",
    "mha_n700",       "gqa_n1500",      "mqa_n900",       "edge_C128_n127", "edge_C128_n128",
    "edge_C128_n129", "edge_C128_n192", "tiny_n33",       "tiny_n34",       "tiny_n35",
    "tiny_n36",       "tiny_n37",       "tiny_n38",       "tiny_n39",       "tiny_n40"};
INSTANTIATE_TEST_SUITE_P(Cases, GoldenOthers, testing::ValuesIn(kCases),
                         [](const auto& named) { return named.param; });

TEST(GoldenOthersCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  std::vector<std::string> methods;
  for (const Published& published : kMethods) methods.emplace_back(published.method);
  EXPECT_EQ(golden_cases_with(methods), kCases);
}

}  // namespace
}  // namespace restkv
