// PyramidKV's and AdaKV's budgets against the published code's.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/top_k.h"
#include "budgets/allocators.h"
#include "support/golden.h"

namespace restkv {
namespace {

TEST(GoldenPyramid, EveryLayer) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const SafetensorsFile file = open_golden(golden_case("pyramid"));
  const std::vector<std::int32_t> rows = file.tensor("pyramid.rows").integers();  // L, C, n
  const std::vector<std::int32_t> kept = file.tensor("pyramid.kept").integers();
  const std::size_t most_layers = file.tensor("pyramid.kept").shape[1];
  ASSERT_GT(rows.size(), 100U);
  for (std::size_t i = 0; i * 3 < rows.size(); ++i) {
    const auto n = static_cast<std::size_t>(rows[3 * i + 2]);
    for (int layer = 0; layer < rows[3 * i]; ++layer) {
      const std::size_t count =
          counts_of("pyramid", {.layer = layer,
                                .n_layer = rows[3 * i],
                                .budget = static_cast<std::size_t>(rows[3 * i + 1]),
                                .window = 32,
                                .rows = {n}})
              .front();
      ASSERT_EQ(static_cast<std::int32_t>(std::min(count, n)),
                kept[i * most_layers + static_cast<std::size_t>(layer)])
          << "layer " << layer << " of " << rows[3 * i] << ", budget " << rows[3 * i + 1] << ", "
          << n << " tokens";
    }
  }
}

// The published scores go in, with the window at their maximum + 1; counts and the keep sets that
// follow from them come out.
TEST(GoldenAda, EveryCaseAndBudget) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  int compared = 0;
  for (const GoldenCase& golden : *golden_cases()) {
    const GoldenMethod* method = golden.method("adakv_kvpress");
    if (method == nullptr) continue;
    const SafetensorsFile file = open_golden(golden);
    const std::size_t n = golden.dims.at("n");
    const std::vector<float> base = file.tensor("criticalkv.base").floats();
    AllocatorCall call{.window = 32};
    for (std::size_t first = 0; first < base.size(); first += n) {
      const auto begin = base.begin() + static_cast<std::ptrdiff_t>(first);
      call.scores.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(n));
    }
    for (const std::size_t budget : method->budgets) {
      SCOPED_TRACE(golden.name + " budget " + std::to_string(budget));
      const std::string suffix = ".C" + std::to_string(budget);
      call.budget = budget;
      const std::vector<std::size_t> counts = counts_of("ada", call);
      ASSERT_TRUE(method->near_ties.at("adakv_kvpress.keep_flat" + suffix).empty());
      const std::vector<std::int32_t> lengths =
          file.tensor("adakv_kvpress.head_lens" + suffix).integers();
      EXPECT_EQ(std::vector<std::int32_t>(counts.begin(), counts.end()), lengths);
      std::vector<std::int32_t> keep;
      std::vector<std::uint32_t> best;
      for (std::size_t h = 0; h < counts.size(); ++h) {
        top_k(call.scores[h], counts[h], best);
        keep.insert(keep.end(), best.begin(), best.end());
      }
      EXPECT_EQ(keep, file.tensor("adakv_kvpress.keep_flat" + suffix).integers());
      ++compared;
    }
  }
  EXPECT_GT(compared, 10);
}

}  // namespace
}  // namespace restkv
