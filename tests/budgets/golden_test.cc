// PyramidKV's and AdaKV's budgets, in each of their forms, against the published code's.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/top_k.h"
#include "budgets/allocators.h"
#include "support/golden.h"

namespace restkv {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct PyramidForm {
  const char* method;
  const char* allocator;
  const char* rows;  // arrays of the case: L, C, n
  const char* kept;
  std::size_t window;
  std::size_t least_rows = 0;
};
constexpr PyramidForm kPyramids[] = {
    {"pyramidkv", "pyramid", "pyramid.rows", "pyramid.kept", 32, 165},
    {"restkv_pyramid", "pyramid:form=restkv", "pyramid.rows", "pyramid.restkv_kept", 32, 165},
    {"pyramidkv_kvpress", "pyramid:form=kvpress", "pyramid.kvpress_rows", "pyramid.kvpress_kept",
     64, 36},
};

TEST(GoldenPyramid, EveryFormAndLayer) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const SafetensorsFile file = open_golden(golden_case("pyramid"));
  for (const PyramidForm& form : kPyramids) {
    SCOPED_TRACE(form.allocator);
    const std::vector<std::int32_t> rows = file.tensor(form.rows).integers();
    const std::vector<std::int32_t> kept = file.tensor(form.kept).integers();
    const std::size_t most_layers = file.tensor(form.kept).shape[1];
    ASSERT_GE(rows.size(), 3 * form.least_rows);
    for (std::size_t i = 0; i * 3 < rows.size(); ++i) {
      const auto n = static_cast<std::size_t>(rows[3 * i + 2]);
      for (int layer = 0; layer < rows[3 * i]; ++layer) {
        const std::size_t count =
            counts_of(form.allocator, {.layer = layer,
                                       .n_layer = rows[3 * i],
                                       .budget = static_cast<std::size_t>(rows[3 * i + 1]),
                                       .window = form.window,
                                       .rows = {n}})
                .front();
        ASSERT_EQ(static_cast<std::int32_t>(std::min(count, n)),
                  kept[i * most_layers + static_cast<std::size_t>(layer)])
            << "layer " << layer << " of " << rows[3 * i] << ", budget " << rows[3 * i + 1] << ", "
            << n << " tokens";
      }
    }
  }
}

// The published scores of each head, with the window as the form has it.
struct AdaForm {
  const char* method;
  const char* allocator;
  const char* score;
  bool adds_window;  // the scores are of the rows before it; it is protected
};
constexpr AdaForm kAdas[] = {
    {"adakv_kvpress", "ada", "criticalkv.base", false},
    {"adakv_ffy0", "ada:form=ffy0", "adakv_ffy0.score", true},
    {"adakv_ffy0_normalize", "ada:form=ffy0:normalize=on", "adakv_ffy0.score", true},
};
constexpr std::size_t kWindow = 32;

AllocatorCall call_of(const AdaForm& form, const SafetensorsFile& file) {
  const GoldenTensor& tensor = file.tensor(form.score);
  const std::vector<float> all = tensor.floats();
  const std::size_t n = tensor.shape[1];
  AllocatorCall call{.window = kWindow};
  for (std::size_t first = 0; first < all.size(); first += n) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<float>& head =
        call.scores.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(n));
    if (!form.adds_window) continue;
    head.insert(head.end(), kWindow, kInf);
    call.protected_rows.push_back(kWindow);
  }
  return call;
}

std::vector<std::int32_t> integers_of(const std::vector<std::size_t>& counts) {
  return {counts.begin(), counts.end()};
}

// The rows of all heads that follow from the counts, one head after the other, but for near ties,
// of which the right number must be there.
void expect_rows(const GoldenMethod& method, const std::string& array,
                 const std::vector<std::int32_t>& wanted, const AllocatorCall& call,
                 const std::vector<std::size_t>& counts) {
  std::size_t first = 0;
  for (std::size_t h = 0; h < counts.size(); ++h) {
    std::vector<std::uint32_t> best;
    top_k(call.scores[h], counts[h], best);
    std::set<std::int32_t> mine(best.begin(), best.end());
    ASSERT_LE(first + counts[h], wanted.size());
    const auto begin = wanted.begin() + static_cast<std::ptrdiff_t>(first);
    std::set<std::int32_t> theirs(begin, begin + static_cast<std::ptrdiff_t>(counts[h]));
    first += counts[h];
    for (const NearTie& tie : method.near_ties.at(array)) {
      if (tie.row != h) continue;
      std::size_t found = 0;
      for (const std::int32_t candidate : tie.candidates) {
        found += mine.erase(candidate);
        theirs.erase(candidate);
      }
      EXPECT_EQ(found, tie.need) << array << " head " << h;
    }
    EXPECT_EQ(mine, theirs) << array << " head " << h;
  }
  EXPECT_EQ(first, wanted.size()) << array;
}

class GoldenAda : public testing::TestWithParam<std::string> {};

TEST_P(GoldenAda, EveryFormAndBudget) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case(GetParam());
  const SafetensorsFile file = open_golden(golden);
  for (const AdaForm& form : kAdas) {
    const GoldenMethod* method = golden.method(form.method);
    ASSERT_NE(method, nullptr) << form.method;
    ASSERT_FALSE(method->budgets.empty());
    AllocatorCall call = call_of(form, file);
    std::set<std::string> compared;
    // What comes in: the tests of policies make it.
    if (method->outputs.contains(form.score)) compared.insert(form.score);
    for (const std::size_t budget : method->budgets) {
      SCOPED_TRACE(std::string(form.allocator) + " budget " + std::to_string(budget));
      const auto array = [&](const char* name) {
        return std::string(form.method) + "." + name + ".C" + std::to_string(budget);
      };
      call.budget = budget;
      const std::vector<std::size_t> counts = counts_of(form.allocator, call);
      EXPECT_EQ(integers_of(counts), file.tensor(array("head_lens")).integers());
      compared.insert(array("head_lens"));
      if (method->outputs.contains(array("keep_flat"))) {
        expect_rows(*method, array("keep_flat"), file.tensor(array("keep_flat")).integers(), call,
                    counts);
        compared.insert(array("keep_flat"));
      }
      if (method->outputs.contains(array("counts"))) {
        // Without an equal share the rows that each head has won are left, and the window.
        std::vector<std::size_t> won = counts_of(std::string(form.allocator) + ":alpha=0", call);
        for (std::size_t& count : won) count -= kWindow;
        EXPECT_EQ(integers_of(won), file.tensor(array("counts")).integers());
        compared.insert(array("counts"));
      }
    }
    for (const auto& [name, output] : method->outputs) {
      EXPECT_TRUE(compared.contains(name)) << name << " was not compared";
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

TEST(GoldenBudgetCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  std::set<std::string> listed;
  for (const PyramidForm& form : kPyramids) listed.insert(std::string("pyramid ") + form.method);
  for (const std::string& name : case_names()) {
    for (const AdaForm& form : kAdas) listed.insert(name + " " + form.method);
  }
  constexpr std::string_view kBeginnings[] = {"adakv", "pyramid", "restkv_pyramid"};
  EXPECT_EQ(golden_methods(kBeginnings), listed);
  std::set<std::string> arrays;
  for (const GoldenMethod& method : golden_case("pyramid").methods) {
    for (const auto& [name, output] : method.outputs) arrays.insert(name);
  }
  for (const PyramidForm& form : kPyramids) {
    arrays.erase(form.rows);
    arrays.erase(form.kept);
  }
  EXPECT_EQ(arrays, std::set<std::string>());
}

}  // namespace
}  // namespace restkv
