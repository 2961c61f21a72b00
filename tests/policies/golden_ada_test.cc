// AdaKV as its authors run it, from keys and queries to the rows that stay: SnapKV's score with
// maximum pooling, the allocator's form, the engine's choice. The tests of budgets compare the
// counts.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/compress.h"
#include "policies/golden_layers.h"

namespace restkv {
namespace {

constexpr const char* kPolicy = "snapkv:pooling=max:kernel=7";

std::shared_ptr<const Variant> variant_of(std::size_t budget) {
  NamedParams policy = parse_named_params(kPolicy).value();
  KvOptions options;
  options.policy = std::move(policy.name);
  options.policy_options = std::move(policy.assignments);
  options.allocator = "ada";
  options.allocator_options = {{"form", "ffy0"}};
  options.budget.amount = static_cast<double>(budget);
  options.window = static_cast<int>(kGoldenWindow);
  options.protect = Protect::kPaper;
  return Variant::make(options).value();
}

class GoldenAda : public testing::TestWithParam<std::string> {};

TEST_P(GoldenAda, ScoresAndRows) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case(GetParam());
  const SafetensorsFile file = open_golden(golden);
  const GoldenMethod* method = golden.method("adakv_ffy0");
  ASSERT_NE(method, nullptr);
  const GoldenLayer layer(golden, file, GoldenHeads::kKv);
  const LayerObservation& shown = layer.observation();
  for (const KernelTable* table : golden_tables(golden)) {
    SCOPED_TRACE(table->name);
    std::set<std::string> compared;
    const GoldenRun run{.golden = &golden,
                        .file = &file,
                        .method = method,
                        .layer = &layer,
                        .kernels = table,
                        .compared = &compared};
    HeadScores scores = scores_of(
        {.policy = kPolicy, .window = kGoldenWindow, .threads = 2, .kernels = table}, shown);
    const HeadScores sums = scores;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      // Theirs is the mean of the window's queries, ours the sum: exact, as there are 32.
      for (float& score : scores[h]) score /= static_cast<float>(kGoldenWindow);
      expect_golden_row(run, "adakv_ffy0.score", h, scores[h]);
    }
    for (const std::size_t budget : method->budgets) {
      SCOPED_TRACE("budget " + std::to_string(budget));
      const std::string array = "adakv_ffy0.keep_flat.C" + std::to_string(budget);
      const std::vector<std::int32_t> wanted = file.tensor(array).integers();
      const std::vector<std::int32_t> lengths =
          file.tensor("adakv_ffy0.head_lens.C" + std::to_string(budget)).integers();
      const KeepSets keep =
          choose_rows(*variant_of(budget), shown, sums, budget, shown.window_positions.back() + 1);
      ASSERT_EQ(keep.size(), lengths.size());
      std::size_t first = 0;
      for (std::size_t h = 0; h < keep.size(); ++h) {
        const auto length = static_cast<std::size_t>(lengths[h]);
        const std::vector<std::int32_t> kept(keep[h].begin(), keep[h].end());
        expect_golden_set(*method, array, h, std::span(wanted).subspan(first, length), kept);
        first += length;
      }
    }
  }
}

const std::vector<std::string>& case_names() {
  static const std::vector<std::string> kNames = {
      "real_l00_n2607", "real_l03_n2607", "real_l12_n2607", "real_l21_n2607", "mha_n700",
      "gqa_n1500",      "mqa_n900",       "edge_C128_n129", "edge_C128_n192"};
  return kNames;
}
INSTANTIATE_TEST_SUITE_P(Cases, GoldenAda, testing::ValuesIn(case_names()),
                         [](const auto& named) { return named.param; });

TEST(GoldenAdaCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const std::vector<std::string> methods = {"adakv_ffy0"};
  EXPECT_EQ(golden_cases_with(methods), case_names());
}

}  // namespace
}  // namespace restkv
