// Which blocks are read: cases worked by hand from the publications.

#include "sparse/selection_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "base/random.h"
#include "restkv/decode_options.h"

namespace restkv {
namespace {

using Blocks = std::vector<std::uint32_t>;

SelectionPlan plan_of(const std::string& name, std::vector<ParamValues::Assignment> options = {}) {
  const DecodeMethodInfo* method = find_decode_method(name);
  EXPECT_NE(method, nullptr) << name;
  return method->plan(*ParamValues::parse(name, method->params, options));
}

Blocks chosen(const SelectionPlan& plan, std::vector<float> scores, std::size_t budget) {
  Blocks blocks;
  std::vector<std::int32_t> keys(scores.size());
  select_blocks(plan, scores, picked_blocks(plan, plan.block_rows, budget), keys, blocks);
  return blocks;
}

TEST(SelectionPlan, BlocksOfRows) {
  EXPECT_EQ(blocks_for_rows(0, 16), 0U);
  EXPECT_EQ(blocks_for_rows(1, 16), 1U);
  EXPECT_EQ(blocks_for_rows(16, 16), 1U);
  EXPECT_EQ(blocks_for_rows(17, 16), 2U);
  // The block of the newest row has no summary, even when it is full.
  EXPECT_EQ(summarised_blocks(0, 16), 0U);
  EXPECT_EQ(summarised_blocks(16, 16), 0U);
  EXPECT_EQ(summarised_blocks(17, 16), 1U);
  EXPECT_EQ(summarised_blocks(32, 16), 1U);
}

TEST(SelectionPlan, QuestReadsTheLastPageAndTheBestOfTheOthers) {
  const SelectionPlan plan = plan_of("quest");
  EXPECT_EQ(plan.block_rows, 16U);
  EXPECT_EQ(plan.dense_layers, 2);
  EXPECT_EQ(plan.summaries, SummaryType::kF16);
  EXPECT_EQ(chosen(plan, {5, 1, 4, 2, 3, 0}, 64), (Blocks{0, 2, 4, 6}));  // 4 pages
  EXPECT_EQ(chosen(plan, {5, 1, 4, 2, 3, 0}, 79), (Blocks{0, 2, 4, 6}));  // rounded down
  EXPECT_EQ(chosen(plan, {5, 1, 4, 2, 3, 0}, 1), (Blocks{0, 2, 6}));      // never below 3
  EXPECT_EQ(chosen(plan, {1, 1, 1, 1}, 48), (Blocks{0, 1, 4}));           // ties: the older
  EXPECT_EQ(chosen(plan, {}, 64), (Blocks{0}));
}

TEST(SelectionPlan, ArkValeReadsTwoAtEachEndAndThreeFewerOfTheRest) {
  const SelectionPlan plan = plan_of("arkvale");
  EXPECT_EQ(plan.block_rows, 32U);
  EXPECT_EQ(plan.box, BoxKind::kCentred);
  EXPECT_EQ(plan.merge, HeadMerge::kMean);
  EXPECT_EQ(chosen(plan, {0, 0, 3, 9, 7, 1, 8, 99}, 5 * 32), (Blocks{0, 1, 3, 6, 7, 8}));
  EXPECT_EQ(chosen(plan, {0, 0, 3, 9, 7, 1, 8, 99}, 1), (Blocks{0, 1, 7, 8}));
  EXPECT_EQ(chosen(plan, {1, 2}, 1), (Blocks{0, 1, 2}));
  EXPECT_EQ(chosen(plan, {1}, 1), (Blocks{0, 1}));
  EXPECT_EQ(chosen(plan, {}, 1), (Blocks{0}));
}

TEST(SelectionPlan, AbSparseReadsBothEndsAndRounds) {
  const SelectionPlan plan = plan_of("ab-sparse");
  EXPECT_EQ(plan.summaries, SummaryType::kInt4);
  EXPECT_EQ(plan.block_rows, 32U);
  EXPECT_EQ(plan.box, BoxKind::kMinMax);
  EXPECT_EQ(plan_of("ab-sparse", {{"estimator", "arkvale"}}).box, BoxKind::kCentred);
  EXPECT_EQ(chosen(plan, {0, 4, 1, 3, 2}, 4 * 32 - 17), (Blocks{0, 1, 5}));
  EXPECT_EQ(chosen(plan, {0, 4, 1, 3, 2}, 4 * 32 - 16), (Blocks{0, 1, 3, 5}));
  // The same budget in blocks of another size.
  EXPECT_EQ(picked_blocks(plan, 16, 160), 8U);
  EXPECT_EQ(picked_blocks(plan, 64, 160), 1U);  // 2.5 rounds up, and both ends are paid for
  EXPECT_EQ(picked_blocks(plan, 128, 1024), 6U);
}

TEST(SelectionPlan, EveryMethodAscendsAndReadsWhatItSays) {
  std::uint64_t random = 1;
  for (const DecodeMethodInfo* method : all_decode_methods()) {
    if (method->plan == nullptr) continue;
    const SelectionPlan plan = plan_of(std::string(method->name));
    for (int round = 0; round < 2000; ++round) {
      std::vector<float> scores(next_random(random) % 40);
      for (float& score : scores) score = static_cast<float>(next_random(random) % 7);
      const std::size_t picked = picked_blocks(plan, plan.block_rows, next_random(random) % 900);
      Blocks blocks;
      blocks.reserve(scores.size() + 1);
      const std::uint32_t* const room = blocks.data();
      std::vector<std::int32_t> keys(scores.size());
      select_blocks(plan, scores, picked, keys, blocks);
      ASSERT_EQ(blocks.data(), room);  // so a worker may call it
      ASSERT_TRUE(std::ranges::is_sorted(blocks, std::less_equal<>()));
      const std::size_t n_block = scores.size() + 1;
      const std::size_t always = std::min(n_block, plan.first_blocks + plan.last_blocks);
      ASSERT_EQ(blocks.size(), std::min(n_block, always + picked));
      ASSERT_EQ(blocks.back(), n_block - 1);
      // None that was left out between the ends is better than one that was taken.
      const std::set<std::uint32_t> taken(blocks.begin(), blocks.end());
      float worst_taken = 7;
      float best_left = -1;
      for (std::size_t b = plan.first_blocks; b + plan.last_blocks < n_block; ++b) {
        const bool is_taken = taken.contains(static_cast<std::uint32_t>(b));
        if (is_taken) worst_taken = std::min(worst_taken, scores[b]);
        if (!is_taken) best_left = std::max(best_left, scores[b]);
      }
      ASSERT_LE(best_left, worst_taken);
    }
  }
}

TEST(SelectionPlan, TheTableHasTheMethodsByName) {
  EXPECT_EQ(find_decode_method("sparse"), nullptr);
  ASSERT_NE(find_decode_method("dense"), nullptr);
  EXPECT_EQ(find_decode_method("dense")->plan, nullptr);
  for (const DecodeMethodInfo* method : all_decode_methods()) {
    EXPECT_EQ(method->default_budget.empty(), method->plan == nullptr) << method->name;
  }
}

}  // namespace
}  // namespace restkv
