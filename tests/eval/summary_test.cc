// Sums worked out by hand.

#include "eval/summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace restkv {
namespace {

// Scores of one variant on the samples of one task.
struct Column {
  std::string task;
  std::string policy;
  std::string budget;
  std::vector<double> scores;
  std::int64_t length = 512;
  std::int64_t seed = 42;
};

void add(std::vector<EvalRow>& rows, const Column& column) {
  for (std::size_t i = 0; i < column.scores.size(); ++i) {
    EvalRow row;
    row.fingerprint = "f";
    row.model = "m.gguf";
    row.suite = "suite";
    row.category = "kind";
    row.task = "suite/" + column.task;
    row.length = column.length;
    row.seed = column.seed;
    row.sample = std::to_string(i);
    row.policy = column.policy;
    row.budget = column.budget;
    row.allocator = column.budget.empty() ? "" : "uniform";
    row.variant = column.policy + (column.budget.empty() ? "" : " " + column.budget);
    row.score = column.scores[i];
    row.prompt_tokens = 400;
    row.kept_tokens = column.budget.empty() ? 400 : 100;
    row.looping = i == 0 ? 1 : 0;
    rows.push_back(row);
  }
}

std::vector<EvalRow> two_tasks() {
  std::vector<EvalRow> rows;
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = {1, 1, 1, 1}});
  add(rows, {.task = "a", .policy = "rest-kv", .budget = "64", .scores = {0, 1, 1, 0}});
  add(rows, {.task = "a", .policy = "snapkv", .budget = "64", .scores = {1, 1, 1, 0}});
  add(rows, {.task = "b", .policy = "full", .budget = "", .scores = {0}});
  add(rows, {.task = "b", .policy = "rest-kv", .budget = "64", .scores = {0}});
  add(rows, {.task = "b", .policy = "snapkv", .budget = "64", .scores = {1}});
  return rows;
}

const SummaryEntry& entry(const Summary& summary, SummaryLevel level, const std::string& name,
                          const std::string& variant) {
  for (const SummaryEntry& one : summary.entries) {
    if (one.level == level && one.name == name && one.variant == variant) return one;
  }
  ADD_FAILURE() << "no entry " << name << " " << variant;
  static const SummaryEntry none;
  return none;
}

// A file that was renamed, and two files of one name.
TEST(Summary, ModelsAreToldByTheirFingerprints) {
  std::vector<EvalRow> rows(4);
  const char* const known[][2] = {
      {"abcdefghi", "m"}, {"abcdefghi", "other"}, {"123456789", "n"}, {"987654321", "n"}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].fingerprint = known[i][0];
    rows[i].model = known[i][1];
  }
  name_models(rows);
  const char* const names[] = {"m", "m", "n 12345678", "n 98765432"};
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].model, names[i]);
}

TEST(Summary, MeansWeighTasksEqually) {
  const auto summary = summarise(two_tasks(), {});
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(entry(*summary, SummaryLevel::kTask, "suite/a", "rest-kv 64").mean, 0.5);
  for (const SummaryLevel level : {SummaryLevel::kSuite, SummaryLevel::kLength}) {
    EXPECT_EQ(entry(*summary, level, "suite", "full").mean, 0.5);
    EXPECT_EQ(entry(*summary, level, "suite", "rest-kv 64").mean, 0.25);
    EXPECT_EQ(entry(*summary, level, "suite", "snapkv 64").mean, 0.875);
  }
  EXPECT_EQ(entry(*summary, SummaryLevel::kCategory, "suite/kind", "snapkv 64").mean, 0.875);
  EXPECT_EQ(entry(*summary, SummaryLevel::kSuite, "suite", "full").samples, 5U);
  EXPECT_EQ(entry(*summary, SummaryLevel::kSuite, "suite", "rest-kv 64").kept_share, 0.25);
  EXPECT_EQ(entry(*summary, SummaryLevel::kTask, "suite/a", "full").looping, 0.25);
}

// Of two samples that took a step: 100 of 200 rows and summaries of 50 bytes, all of 90 rows. Of a
// full cache of 100 rows, in pages of 16, each of 112 takes 40 bytes. What an evicted cache takes
// does not matter: it has room in its pages.
TEST(Summary, WhatAStepReads) {
  std::vector<EvalRow> rows;
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = {1, 1, 1}});
  for (EvalRow& row : rows) {
    row.prompt_tokens = 100;
    row.bytes_full = 112 * 40;
  }
  rows[0].bytes = 8000;
  rows[0].rows_read = 100;
  rows[0].rows_held = 200;
  rows[0].summary_bytes = 50;
  rows[1].bytes = 6000;
  rows[1].rows_read = rows[1].rows_held = 90;
  const auto summary = summarise(rows, {});
  const SummaryEntry& all = entry(*summary, SummaryLevel::kSuite, "suite", "full");
  ASSERT_TRUE(all.reading);
  EXPECT_EQ(all.reading->rows, 95);
  EXPECT_EQ(all.reading->bytes, (4050 + 3600) / 2.0);
  EXPECT_FALSE(entry(*summarise(two_tasks(), {}), SummaryLevel::kSuite, "suite", "full").reading);
}

TEST(Summary, SpreadsAreSeparate) {
  const auto summary = summarise(two_tasks(), {});
  const ScoreSpread& spread = entry(*summary, SummaryLevel::kSuite, "suite", "rest-kv 64").spread;
  EXPECT_DOUBLE_EQ(*spread.over_samples, 1.0 / 3);  // of 0, 1, 1, 0; the other task has one sample
  EXPECT_DOUBLE_EQ(*spread.over_tasks, 0.125);      // of 0.5 and 0
  EXPECT_FALSE(spread.over_lengths);
  EXPECT_FALSE(spread.over_seeds);
}

TEST(Summary, DifferencesToTheFullCacheArePaired) {
  const auto summary = summarise(two_tasks(), {});
  const auto& one = entry(*summary, SummaryLevel::kTask, "suite/a", "rest-kv 64").against_full;
  ASSERT_TRUE(one);
  EXPECT_EQ(one->pairs, 4U);
  EXPECT_EQ(one->difference.estimate, -0.5);  // -1, 0, 0, -1
  EXPECT_LE(one->difference.low, -0.75);
  EXPECT_EQ(one->p, 0.5);  // 2 of the 4 signs of two differences
  // ((1.95996 + 0.84162) * sqrt(1/3) / 0.5)^2 = 10.47
  EXPECT_EQ(one->samples_needed, 11U);
  EXPECT_FALSE(entry(*summary, SummaryLevel::kTask, "suite/a", "full").against_full);
  const auto& suite = entry(*summary, SummaryLevel::kSuite, "suite", "snapkv 64").against_full;
  EXPECT_EQ(suite->difference.estimate, 0.375);  // mean of -0.25 and 1
  EXPECT_EQ(suite->pairs, 5U);
}

// Whatever the samples that a seed or a length has: what is printed as a difference is that of the
// scores printed beside it.
TEST(Summary, DifferencesAreThoseOfTheScores) {
  std::vector<EvalRow> rows;
  for (const char* task : {"a", "b"}) {
    for (const std::int64_t seed : {42, 43}) {
      const std::vector<double> all(seed == 42 ? 6 : 2, 1.0);
      std::vector<double> few(all.size(), 0.0);
      if (seed == 43) few = {1, 0};
      if (seed == 42 && *task == 'a') few[0] = few[1] = few[2] = 1;
      add(rows, {.task = task, .policy = "full", .budget = "", .scores = all, .seed = seed});
      add(rows, {.task = task, .policy = "h2o", .budget = "64", .scores = few, .seed = seed});
      add(rows, {.task = task, .policy = "tova", .budget = "64", .scores = all, .seed = seed});
    }
  }
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = {0.5}, .length = 1024});
  add(rows, {.task = "a", .policy = "h2o", .budget = "64", .scores = {0.25}, .length = 1024});
  add(rows, {.task = "a", .policy = "tova", .budget = "64", .scores = {0.5}, .length = 1024});
  const auto summary = summarise(rows, {});
  const double full = entry(*summary, SummaryLevel::kSuite, "suite", "full").mean;
  const SummaryEntry& h2o = entry(*summary, SummaryLevel::kSuite, "suite", "h2o 64");
  EXPECT_DOUBLE_EQ(h2o.mean, (0.5 + 0.5 + 0 + 0.5 + 0.25) / 5);
  EXPECT_DOUBLE_EQ(h2o.against_full->difference.estimate, h2o.mean - full);
  ASSERT_EQ(summary->methods.size(), 1U);
  EXPECT_DOUBLE_EQ(summary->methods.front().comparison.difference.estimate, h2o.mean - full);
}

// Two groups of unlike sizes: the smaller one decides how much doubt there is.
TEST(Summary, WhatCanBeFoundFollowsTheSmallestGroup) {
  std::vector<EvalRow> rows;
  const auto both = [&rows](const char* task, const std::vector<double>& scores) {
    add(rows, {.task = task,
               .policy = "full",
               .budget = "",
               .scores = std::vector<double>(scores.size(), 0.0)});
    add(rows, {.task = task, .policy = "h2o", .budget = "64", .scores = scores});
  };
  both("a", {1, 0});
  both("b", {1, 0, 1, 0, 1, 0, 1, 0});
  const auto summary = summarise(rows, {});
  const auto& found = entry(*summary, SummaryLevel::kSuite, "suite", "h2o 64").against_full;
  // Variances 1/2 and 2/7: the standard error is sqrt(1/4 + 1/28) / 2.
  const double error = std::sqrt(0.25 + 1.0 / 28) / 2;
  EXPECT_NEAR(*found->detectable, (1.959964 + 0.841621) * error, 1e-6);
  // Ten pairs have that error, so an error of 0.5 / 2.8016 takes ten times (error / that) squared.
  EXPECT_EQ(found->samples_needed,
            static_cast<std::uint64_t>(std::ceil(10 * std::pow(2.801585 * error / 0.5, 2))));
}

TEST(Summary, CorrectionsCountTheComparisonsOfALevel) {
  std::vector<EvalRow> rows;
  const std::vector<double> none(6, 0.0);
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = none});
  add(rows, {.task = "a", .policy = "h2o", .budget = "64", .scores = {1, 1, 1, 1, 1, 1}});
  add(rows, {.task = "a", .policy = "tova", .budget = "64", .scores = {1, 1, 1, 1, 1, 0}});
  const auto summary = summarise(rows, {});
  const auto& sure = entry(*summary, SummaryLevel::kSuite, "suite", "h2o 64").against_full;
  const auto& less = entry(*summary, SummaryLevel::kSuite, "suite", "tova 64").against_full;
  EXPECT_EQ(sure->p, 2.0 / 64);
  EXPECT_EQ(less->p, 2.0 / 32);
  EXPECT_EQ(sure->p_holm, 4.0 / 64);  // the smaller of two is doubled
  EXPECT_EQ(less->p_holm, 4.0 / 64);
  EXPECT_EQ(sure->p_bh, 4.0 / 64);
}

TEST(Summary, MethodsAreComparedAtTheSameBudgetOnly) {
  std::vector<EvalRow> rows = two_tasks();
  add(rows, {.task = "a", .policy = "h2o", .budget = "128", .scores = {1, 1, 1, 1}});
  const auto summary = summarise(rows, {});
  ASSERT_EQ(summary->methods.size(), 1U);
  const MethodComparison& methods = summary->methods.front();
  EXPECT_EQ(methods.first, "rest-kv 64");
  EXPECT_EQ(methods.second, "snapkv 64");
  EXPECT_EQ(methods.comparison.difference.estimate, -0.625);  // mean of -0.25 and -1
}

// Another prompt under the same name is no pair.
TEST(Summary, OnlyTheSamePromptIsAPair) {
  std::vector<EvalRow> rows = two_tasks();
  for (EvalRow& row : rows) {
    if (row.policy == "full") row.prompt_hash = "another";
  }
  const auto summary = summarise(rows, {});
  EXPECT_FALSE(entry(*summary, SummaryLevel::kSuite, "suite", "snapkv 64").against_full);
  EXPECT_EQ(summary->methods.size(), 1U);
}

TEST(Summary, TablesHaveFullCachesFirstAndSmallBudgetsBeforeLarge) {
  std::vector<EvalRow> rows;
  for (const char* budget : {"1024", "64", "10%"}) {
    add(rows, {.task = "a", .policy = "h2o", .budget = budget, .scores = {1}});
  }
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = {1}});
  EXPECT_EQ(variants_in_order(rows),
            (std::vector<std::string>{"full", "h2o 64", "h2o 1024", "h2o 10%"}));
}

TEST(Summary, NothingAndNoNumbersAreErrors) {
  EXPECT_EQ(summarise({}, {}).error().code, ErrorCode::kInvalidArgument);
  std::vector<EvalRow> rows = two_tasks();
  rows.front().score = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(summarise(rows, {}).error().code, ErrorCode::kInvalidArgument);
}

// Scores on no grid, of which more flips are drawn for more comparisons: what is plain to see is
// significant however many are compared.
TEST(Summary, ManyComparisonsCanBeSignificant) {
  std::vector<EvalRow> rows;
  std::uint64_t state = 3;
  const auto scores = [&state](double least) {
    std::vector<double> list(40);
    for (double& score : list) {
      score = least + static_cast<double>(next_random(state) >> 11) * 0x1p-54;  // to least + 1/2
    }
    return list;
  };
  constexpr std::size_t kVariants = 40;
  add(rows, {.task = "a", .policy = "full", .budget = "", .scores = scores(0.5)});
  for (std::size_t i = 0; i < kVariants; ++i) {
    const double least = i < kVariants / 2 ? 0 : 0.4;
    add(rows,
        {.task = "a", .policy = "m" + std::to_string(i), .budget = "64", .scores = scores(least)});
  }
  const auto summary = summarise(rows, {.resamples = 200});
  ASSERT_TRUE(summary.ok());
  for (const SummaryEntry& one : summary->entries) {
    if (!one.against_full || one.mean > 0.4) continue;
    EXPECT_LT(one.against_full->p_holm, 0.05) << one.variant;
  }
  // 20 * 20 pairs of 40 * 39 / 2.
  std::size_t found = 0;
  for (const MethodComparison& methods : summary->methods) {
    found += methods.comparison.p_holm < 0.05 ? 1 : 0;
  }
  EXPECT_EQ(summary->methods.size(), kVariants * (kVariants - 1) / 2);
  EXPECT_GE(found, 400U);
  EXPECT_LE(found, 402U);
}

}  // namespace
}  // namespace restkv
