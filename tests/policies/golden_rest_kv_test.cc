// ReST-KV against the arrays of its published code, and against ours for KV heads.

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/golden_layers.h"

namespace restkv {
namespace {

struct Published {
  const char* method;
  const char* options;
  GoldenHeads heads;
};
constexpr Published kMethods[] = {
    {"restkv", "", GoldenHeads::kQuery},
    {"restkv_before", ":metric=before", GoldenHeads::kQuery},
    {"restkv_nowo", ":wo=off", GoldenHeads::kQuery},
    {"restkv_mean", ":ema=off", GoldenHeads::kQuery},
    {"restkv_s200", ":scale=200", GoldenHeads::kQuery},
    {"ours.restkv", "", GoldenHeads::kKv},
    {"ours.restkv_s200", ":scale=200", GoldenHeads::kKv},
};

// One kernel width of a method, with every budget.
void expect_golden(GoldenRun run, const std::string& options, int kernel) {
  const std::string method = run.method->name;
  run.policy = "rest-kv:kernel=" + std::to_string(kernel) + options;
  run.keep = method + ".k" + std::to_string(kernel);
  const auto check = [&run, &method](std::size_t budget, const HeadScores& scores,
                                     const RecordedTrace& trace) {
    const std::string at_budget = ".C" + std::to_string(budget);
    std::string smooth = run.keep + ".smooth";
    if (run.method->outputs.contains(smooth + at_budget)) smooth += at_budget;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      expect_golden_row(run, smooth, h, scores[h]);
      if (method.starts_with("ours.")) continue;
      const auto head = static_cast<int>(h);
      for (const char* name : {"ema", "norm"}) {
        if (trace.has(name, head))
          expect_golden_row(run, method + "." + name, h, trace.of(name, head));
      }
      expect_golden_row(run, method + ".raw", h, trace.of("raw", head));
      expect_golden_row(run, method + ".t" + at_budget, h, trace.of("t", head));
      expect_golden_row(run, method + ".shift" + at_budget, h, trace.of("shift", head));
      expect_golden_row(run, run.keep + ".kernel" + at_budget, h, trace.of("kernel", head));
    }
  };
  expect_golden_keep_sets(run, check);
}

class GoldenRestKv : public testing::TestWithParam<std::string> {};

TEST_P(GoldenRestKv, EveryArrayAndEverySelection) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case(GetParam());
  const SafetensorsFile file = open_golden(golden);
  const GoldenLayer query_heads(golden, file, GoldenHeads::kQuery);
  const GoldenLayer kv_heads(golden, file, GoldenHeads::kKv);
  for (const KernelTable* table : golden_tables(golden)) {
    SCOPED_TRACE(table->name);
    for (const Published& published : kMethods) {
      const GoldenMethod* method = golden.method(published.method);
      if (method == nullptr) continue;
      std::set<std::string> compared;
      for (const int kernel : method->kernels) {
        expect_golden({.golden = &golden,
                       .file = &file,
                       .method = method,
                       .layer = published.heads == GoldenHeads::kKv ? &kv_heads : &query_heads,
                       .kernels = table,
                       .compared = &compared},
                      published.options, kernel);
      }
      expect_all_compared(*method, compared);
    }
  }
}

const std::vector<std::string> kCases = {
    "real_l00_n2607", "real_l03_n2607", "real_l12_n2607", "real_l21_n2607", "mha_n700",
    "gqa_n1500",      "mqa_n900",       "edge_C128_n127", "edge_C128_n128", "edge_C128_n129",
    "edge_C128_n192", "tiny_n33",       "tiny_n34",       "tiny_n35",       "tiny_n36",
    "tiny_n37",       "tiny_n38",       "tiny_n39",       "tiny_n40",       "long_n5000"};
INSTANTIATE_TEST_SUITE_P(Cases, GoldenRestKv, testing::ValuesIn(kCases),
                         [](const auto& named) { return named.param; });

TEST(GoldenRestKvCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  std::vector<std::string> methods;
  for (const Published& published : kMethods) methods.emplace_back(published.method);
  EXPECT_EQ(golden_cases_with(methods), kCases);
}

}  // namespace
}  // namespace restkv
