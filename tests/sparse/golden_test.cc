// Quest's and ArkVale's boxes, scores and choices against the arrays of their published code. The
// last query of a case looks for its pages.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/top_k.h"
#include "sparse/block_box.h"
#include "support/golden.h"

namespace restkv {
namespace {

struct Inputs {
  std::size_t n_head, n_kv_head, dim, rows;
  std::vector<float> queries;  // [n_head, dim], the last ones
  std::vector<float> keys;     // [n_kv_head, rows, dim]

  Inputs(const GoldenCase& golden, const SafetensorsFile& file)
      : n_head(golden.dims.at("Hq")),
        n_kv_head(golden.dims.at("Hkv")),
        dim(golden.dims.at("d")),
        rows(golden.dims.at("n")),
        keys(file.tensor("k").floats()) {
    const std::vector<float> all = file.tensor(file.has("q") ? "q" : "q_full").floats();
    const std::size_t per_head = all.size() / n_head;
    for (std::size_t h = 0; h < n_head; ++h) {
      const auto end = all.begin() + static_cast<std::ptrdiff_t>((h + 1) * per_head);
      queries.insert(queries.end(), end - static_cast<std::ptrdiff_t>(dim), end);
    }
  }
  [[nodiscard]] View2<const float> block(std::size_t h, std::size_t first, std::size_t n) const {
    return {keys.data() + (h * rows + first) * dim, std::min(n, rows - first), dim};
  }
  // [blocks]: what the blocks of query head `head` promise.
  [[nodiscard]] std::vector<float> scores(BoxKind kind, std::size_t head, std::size_t block_rows,
                                          std::size_t n_block) const {
    const std::size_t h = head / (n_head / n_kv_head);
    std::vector<float> split(2 * dim);
    split_query({queries.data() + head * dim, dim}, split);
    std::vector<float> scores;
    for (std::size_t b = 0; b < n_block; ++b) {
      std::vector<float> box(2 * dim);
      make_box(kind, block(h, b * block_rows, block_rows), std::span(box).first(dim),
               std::span(box).last(dim));
      double sum = 0;
      for (std::size_t d = 0; d < 2 * dim; ++d) sum += double(split[d]) * double(box[d]);
      scores.push_back(static_cast<float>(sum));
    }
    return scores;
  }
};

void expect_close(const GoldenMethod& method, const std::string& array,
                  std::span<const float> wanted, std::span<const float> actual) {
  const GoldenOutput& tolerance = method.outputs.at(array);
  ASSERT_EQ(wanted.size(), actual.size()) << array;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double limit = tolerance.atol + tolerance.rtol * std::abs(double(wanted[i]));
    ASSERT_NEAR(actual[i], wanted[i], limit) << array << " element " << i;
  }
}

// Equal but for near ties, of which the right number must be there.
void expect_choice(const GoldenMethod& method, const std::string& array, std::size_t row,
                   std::set<std::int32_t> wanted, std::set<std::int32_t> actual) {
  if (const auto ties = method.near_ties.find(array); ties != method.near_ties.end()) {
    for (const NearTie& tie : ties->second) {
      if (tie.row != row) continue;
      std::size_t found = 0;
      for (const std::int32_t candidate : tie.candidates) {
        found += actual.erase(candidate);
        wanted.erase(candidate);
      }
      EXPECT_EQ(found, tie.need) << array << " row " << row;
    }
  }
  EXPECT_EQ(actual, wanted) << array << " row " << row;
}

std::set<std::int32_t> row_set(const GoldenTensor& tensor, std::size_t row) {
  const std::vector<std::int32_t> all = tensor.integers();
  const std::size_t n = tensor.shape[1];
  return {all.begin() + static_cast<std::ptrdiff_t>(row * n),
          all.begin() + static_cast<std::ptrdiff_t>((row + 1) * n)};
}

std::size_t number_after(const std::string& name, char letter) {
  return std::stoul(name.substr(name.rfind(letter) + 1));
}

const std::vector<std::string>& case_names() {
  static const std::vector<std::string> kNames = {
      "real_l00_n2607", "real_l03_n2607", "real_l12_n2607", "real_l21_n2607",
      "mha_n700",       "gqa_n1500",      "mqa_n900"};
  return kNames;
}

TEST(SparseGoldenCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  std::set<std::string> listed;
  for (const std::string& name : case_names()) listed.insert({name + " quest", name + " arkvale"});
  constexpr std::string_view kBeginnings[] = {"quest", "arkvale"};
  EXPECT_EQ(golden_methods(kBeginnings), listed);
}

TEST(SparseGolden, QuestScoresAndPages) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  for (const std::string& case_name : case_names()) {
    SCOPED_TRACE(case_name);
    const GoldenCase& golden = golden_case(case_name);
    const GoldenMethod* method = golden.method("quest");
    ASSERT_NE(method, nullptr);
    std::size_t choices = 0;
    const SafetensorsFile file = open_golden(golden);
    const Inputs inputs(golden, file);
    const std::size_t n_page = blocks_for_rows(inputs.rows, 16);
    std::vector<float> all;
    for (std::size_t head = 0; head < inputs.n_head; ++head) {
      const auto scores = inputs.scores(BoxKind::kMinMax, head, 16, n_page);
      all.insert(all.end(), scores.begin(), scores.end());
    }
    expect_close(*method, "quest.score", file.tensor("quest.score").floats(), all);
    for (const auto& [name, output] : method->outputs) {
      if (name == "quest.score") continue;
      ASSERT_TRUE(name.starts_with("quest.pages.")) << name << " is not compared";
      // The evaluation script picks among all pages; what is always read is the engine's.
      const SelectionPlan plan{.paid_blocks = 0};
      const std::size_t picked = picked_blocks(plan, 16, number_after(name, 'B'));
      for (std::size_t head = 0; head < inputs.n_head; ++head) {
        std::vector<std::uint32_t> pages;
        top_k(std::span(all).subspan(head * n_page, n_page), picked, pages);
        expect_choice(*method, name, head, row_set(file.tensor(name), head),
                      {pages.begin(), pages.end()});
        ++choices;
      }
    }
    EXPECT_GE(choices, 2 * inputs.n_head);
  }
}

TEST(SparseGolden, ArkValeBoxesScoresAndPages) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const std::set<std::string> values = {"arkvale.lo", "arkvale.hi", "arkvale.score",
                                        "arkvale.score_mean"};
  for (const std::string& case_name : case_names()) {
    SCOPED_TRACE(case_name);
    const GoldenCase& golden = golden_case(case_name);
    const GoldenMethod* method = golden.method("arkvale");
    ASSERT_NE(method, nullptr);
    std::size_t choices = 0;
    const SafetensorsFile file = open_golden(golden);
    const Inputs inputs(golden, file);
    const std::size_t n_page = summarised_blocks(inputs.rows, 32);
    std::vector<float> low;
    std::vector<float> high;
    for (std::size_t page = 0; page < n_page; ++page) {
      for (std::size_t h = 0; h < inputs.n_kv_head; ++h) {
        std::vector<float> box(2 * inputs.dim);
        const std::span<float> all(box);
        make_box(BoxKind::kCentred, inputs.block(h, page * 32, 32), all.first(inputs.dim),
                 all.last(inputs.dim));
        low.insert(low.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(inputs.dim));
        high.insert(high.end(), all.begin() + static_cast<std::ptrdiff_t>(inputs.dim), all.end());
      }
    }
    expect_close(*method, "arkvale.lo", file.tensor("arkvale.lo").floats(), low);
    expect_close(*method, "arkvale.hi", file.tensor("arkvale.hi").floats(), high);
    std::vector<float> scores;
    std::vector<float> mean(n_page, 0.0F);
    for (std::size_t head = 0; head < inputs.n_head; ++head) {
      const auto one = inputs.scores(BoxKind::kCentred, head, 32, n_page);
      for (std::size_t i = 0; i < n_page; ++i) {
        mean[i] += one[i] / static_cast<float>(inputs.n_head);
      }
      scores.insert(scores.end(), one.begin(), one.end());
    }
    expect_close(*method, "arkvale.score", file.tensor("arkvale.score").floats(), scores);
    expect_close(*method, "arkvale.score_mean", file.tensor("arkvale.score_mean").floats(), mean);
    for (const auto& [name, output] : method->outputs) {
      if (values.contains(name)) continue;
      ASSERT_TRUE(name.starts_with("arkvale.pages.")) << name << " is not compared";
      const SelectionPlan plan{.first_blocks = 2, .last_blocks = 2, .paid_blocks = 3};
      const std::size_t picked = picked_blocks(plan, 32, 32 * number_after(name, 'T'));
      std::vector<std::uint32_t> pages;
      std::vector<std::int32_t> keys(mean.size());
      select_blocks(plan, mean, picked, keys, pages);
      std::set<std::int32_t> actual(pages.begin(), pages.end());
      // The arrays hold what was picked by score only.
      for (const std::size_t always : {std::size_t{0}, std::size_t{1}, n_page - 1, n_page}) {
        EXPECT_EQ(actual.erase(static_cast<std::int32_t>(always)), 1U) << name;
      }
      expect_choice(*method, name, 0, row_set(file.tensor(name), 0), actual);
      ++choices;
    }
    EXPECT_GE(choices, 2U);
  }
}

}  // namespace
}  // namespace restkv
