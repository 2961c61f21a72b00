// Prompts count once, and for every variant.

#include "eval/row_choice.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/summary.h"

namespace restkv {
namespace {

EvalRow row_of(int sample, const std::string& variant, std::int64_t seed = 42) {
  EvalRow row;
  row.fingerprint = row.model = "m";
  row.suite = "gsm8k";
  row.task = "gsm8k/few-shot";
  row.sample = std::to_string(sample);
  row.seed = seed;
  row.variant = row.policy = variant;
  row.prompt_hash = "hash of " + row.sample;
  return row;
}

// A file's prompts under two seeds: nothing more is known than under one.
TEST(RowChoice, TheSamePromptUnderAnotherSeedIsNoSecondPrompt) {
  std::vector<EvalRow> rows;
  for (int i = 0; i < 12; ++i) {
    rows.push_back(row_of(i, "full"));
    rows.back().score = 1;
    rows.push_back(row_of(i, "rest-kv"));
    rows.back().score = i % 3 == 0 ? 0 : 1;
  }
  const Summary once = summarise(rows, {}).value();
  std::vector<EvalRow> twice = rows;
  for (EvalRow row : rows) {
    row.seed = 43;
    twice.push_back(row);
  }
  EXPECT_EQ(without_repeats(twice).size(), rows.size());
  const Summary again = summarise(twice, {}).value();
  ASSERT_EQ(again.entries.size(), once.entries.size());
  for (std::size_t i = 0; i < once.entries.size(); ++i) {
    EXPECT_EQ(again.entries[i].samples, once.entries[i].samples);
    ASSERT_EQ(again.entries[i].against_full.has_value(), once.entries[i].against_full.has_value());
    if (!once.entries[i].against_full) continue;
    EXPECT_EQ(again.entries[i].against_full->pairs, 12U);
    EXPECT_EQ(again.entries[i].against_full->p, once.entries[i].against_full->p);
    EXPECT_EQ(again.entries[i].against_full->difference.low,
              once.entries[i].against_full->difference.low);
  }
}

// Those of a generator are others under another seed.
TEST(RowChoice, OtherPromptsUnderAnotherSeedCount) {
  std::vector<EvalRow> rows = {row_of(0, "full"), row_of(0, "full", 43), row_of(0, "full", 44)};
  rows[1].prompt_hash = "another";
  rows[2].prompt_hash = rows[0].prompt_hash;
  const std::vector<EvalRow> left = without_repeats(rows);
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].seed, 42);
  EXPECT_EQ(left[1].seed, 43);
  for (EvalRow& row : rows) row.prompt_hash.clear();
  EXPECT_EQ(without_repeats(rows).size(), 3U);
}

// A method that was run under one of the seeds alone meets the others all the same.
TEST(RowChoice, MethodsMeetUnderDifferentSeeds) {
  std::vector<EvalRow> rows;
  for (int i = 0; i < 12; ++i) {
    rows.push_back(row_of(i, "full"));
    rows.push_back(row_of(i, "full", 43));
    rows.push_back(row_of(i, "rest-kv", 43));
  }
  const std::vector<EvalRow> left = without_repeats(rows);
  EXPECT_EQ(left.size(), 24U);
  for (const EvalRow& row : left) EXPECT_EQ(row.seed, 42);
  const Summary summary = summarise(rows, {}).value();
  for (const SummaryEntry& entry : summary.entries) {
    if (entry.variant == "rest-kv") {
      EXPECT_EQ(entry.against_full->pairs, 12U);
    }
  }
}

TEST(RowChoice, PromptsThatSomeHaveNotAnsweredAreLeftOut) {
  std::vector<EvalRow> rows;
  for (int i = 0; i < 5; ++i) rows.push_back(row_of(i, "full"));
  for (int i = 1; i < 3; ++i) rows.push_back(row_of(i, "rest-kv"));
  EvalRow other = row_of(7, "full");
  other.suite = "ruler";
  rows.push_back(other);
  const CommonRows common = of_common_prompts(rows);
  EXPECT_EQ(common.left_out, 3U);
  std::vector<std::string> left;
  for (const EvalRow& row : common.rows) left.push_back(row.variant + " " + row.sample);
  EXPECT_EQ(left,
            (std::vector<std::string>{"full 1", "full 2", "rest-kv 1", "rest-kv 2", "full 7"}));
}

// What an earlier command asked for does not hold the others back.
TEST(RowChoice, AVariantWithFewerPromptsLeavesNothingOut) {
  std::vector<EvalRow> rows;
  for (int i = 0; i < 5; ++i) {
    rows.push_back(row_of(i, "full"));
    rows.push_back(row_of(i, "rest-kv"));
    if (i < 2) rows.push_back(row_of(i, "of before"));
  }
  const CommonRows common = of_common_prompts(rows);
  EXPECT_EQ(common.rows.size(), rows.size());
  EXPECT_EQ(common.left_out, 0U);
}

TEST(RowChoice, WhereNothingIsCommonAllStays) {
  const std::vector<EvalRow> rows = {row_of(0, "snapkv"), row_of(1, "rest-kv")};
  const CommonRows common = of_common_prompts(rows);
  EXPECT_EQ(common.rows.size(), 2U);
  EXPECT_EQ(common.left_out, 0U);
}

}  // namespace
}  // namespace restkv
