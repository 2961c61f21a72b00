// How the study has ReST-KV meet AB-Sparse.

#include "eval/study.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "eval/study_findings.h"

namespace restkv {
namespace {

// Of RULER: ReST-KV with 64 rows, or AB-Sparse that reads as many.
struct RowAt64 {
  std::string model;
  std::string variant;  // begins with its policy
  int sample = 0;
  int n_tasks = 2;
};

EvalRow row_at_64(const RowAt64& of, double score) {
  const bool sparse = of.variant.starts_with("full");
  EvalRow row;
  row.model = row.fingerprint = of.model;
  row.suite = "ruler";
  row.task = "ruler/" + std::to_string(of.sample % of.n_tasks);
  row.length = 2048;
  row.sample = std::to_string(of.sample);
  row.policy = sparse ? "full" : "rest-kv";
  row.variant = of.variant;
  row.budget = sparse ? "" : "64";
  row.granularity = of.variant.ends_with("query-head") ? "query-head" : "kv-head";
  row.decode_attn = sparse ? "ab-sparse" : "dense";
  row.decode_budget = sparse ? "64" : "";
  row.score = score;
  return row;
}

// Twelve samples of model m, each variant with the same score on all.
ReportData rows_of_variants(const std::map<std::string, double>& scores) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 12; ++i) {
    for (const auto& [variant, score] : scores) {
      data.rows.push_back(row_at_64({.model = "m", .variant = variant, .sample = i}, score));
    }
  }
  data.summary = summarise(data.rows, {}).value();
  return data;
}

// What is kept and what is read of it: the same rows are read with and without AB-Sparse.
// Rows of query heads are another method: a prompt counts once.
TEST(Study, ReStKvMeetsAbSparseByRowsOfKvHeads) {
  const ReportData data = rows_of_variants({{"rest-kv 64", 0.75},
                                            {"rest-kv 64 granularity=query-head", 0},
                                            {"full decode_attn=ab-sparse", 0.25}});
  const std::string text = study_markdown({.prompts = data, .command = "restkv study"});
  const std::size_t at = text.find("| ReST-KV 64 - AB-Sparse 64 | **+50.0 (+50.0 to +50.0)** |");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_TRUE(text.substr(at, text.find('\n', at) - at).ends_with("| 12 |"))
      << text.substr(at, 200);
}

// Variances: the model is named, and what is told apart after Holm's correction is in bold.
TEST(Study, DifferencesOfVariancesCountAsTheOthersDo) {
  ReportData data;
  data.title = "t";
  for (const char* model : {"m.gguf", "n.gguf"}) {
    for (int i = 0; i < 160; ++i) {
      // Means 1/2. Scores of model n vary as much with either; those of m are 0 and 1, or a tenth
      // of that.
      const double side = i / 4 % 2 == 0 ? -0.5 : 0.5;
      const double other = i / 8 % 2 == 0 ? -0.5 : 0.5;
      const double less = std::string(model) == "m.gguf" ? 0.1 : 1;
      for (const auto& [variant, score] : std::map<std::string, double>{
               {"rest-kv 64", 0.5 + side}, {"full decode_attn=ab-sparse", 0.5 + less * other}}) {
        data.rows.push_back(
            row_at_64({.model = model, .variant = variant, .sample = i, .n_tasks = 4}, score));
      }
    }
  }
  data.summary = summarise(data.rows, {.resamples = 200}).value();
  const std::string text = study_markdown({.prompts = data, .command = "restkv study"});
  EXPECT_NE(text.find("| ruler, m | rest-kv 64 | 50.0 | 0 | - | - | 2564 | 64 |\n"),
            std::string::npos)
      << text;
  const auto line = [&text](const std::string& model) {
    const std::size_t at = text.find("| ruler, " + model + " | ReST-KV 64 - AB-Sparse 64 |");
    return at == std::string::npos ? std::string() : text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_NE(line("m").find("| **+2538 ("), std::string::npos) << line("m");
  EXPECT_NE(text.find("ReST-KV 64 beside AB-Sparse 64: +0.0 points (not told apart); its variance "
                      "over samples is larger by 2538 points squared ("),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("; no variance is told apart."), std::string::npos) << text;
  EXPECT_NE(line("n").find("| +0 ("), std::string::npos) << line("n");
  EXPECT_EQ(line("n").find("**"), std::string::npos) << line("n");
}

// AB-Sparse reads more than it is asked for: it meets the ReST-KV whose step reads as many bytes.
TEST(Study, ReStKvAndAbSparseMeetByWhatAStepReads) {
  ReportData data;
  data.title = "t";
  const auto add = [&data](int sample, const std::string& kept, const std::string& read,
                           double score, double rows_read) {
    EvalRow row;
    row.model = "m";
    row.suite = "ruler";
    row.task = sample % 2 == 0 ? "ruler/vt" : "ruler/cwe";
    row.length = 2048;
    row.sample = std::to_string(sample);
    row.policy = kept.empty() ? "full" : "rest-kv";
    row.budget = kept;
    row.decode_attn = read.empty() ? "dense" : "ab-sparse";
    row.decode_budget = read;
    row.variant = row.policy + (kept.empty() ? "" : " " + kept) +
                  (read.empty() ? "" : " decode_attn=ab-sparse decode_budget=" + read);
    row.score = score;
    row.rows_read = rows_read;
    row.rows_held = kept.empty() ? 2000 : rows_read;
    row.prompt_tokens = 2000;
    row.bytes_full = std::int64_t{2000} << 20;
    data.rows.push_back(row);
  };
  for (int i = 0; i < 12; ++i) {
    add(i, "64", "", 0.25, 64);
    add(i, "256", "", 0.75, 256);
    add(i, "", "64", 0.5, 330);
  }
  data.summary = summarise(data.rows, {}).value();
  const std::string text = findings_at_equal_reading(data).table;
  EXPECT_NE(
      text.find("| ReST-KV 256 (256 rows, 256.00 MiB) - AB-Sparse 64 (330 rows, 330.00 MiB) | "
                "**+25.0 (+25.0 to +25.0)** |"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("ReST-KV 64 "), std::string::npos) << text;
}

// Rows of two tables of block sizes are two methods: a prompt counts once for each.
TEST(Study, AbSparseUnderTwoTablesIsTwoMethods) {
  const ReportData data = rows_of_variants({{"rest-kv 64", 0.75},
                                            {"full decode_attn=ab-sparse decode_table=aaaa", 0.25},
                                            {"full decode_attn=ab-sparse decode_table=bbbb", 0.5}});
  const std::string text = findings_at_equal_reading(data).table;
  for (const auto& [table, difference] : std::map<std::string, std::string>{
           {"aaaa", "**+50.0 (+50.0 to +50.0)**"}, {"bbbb", "**+25.0 (+25.0 to +25.0)**"}}) {
    const std::size_t at =
        text.find("| ReST-KV 64 - AB-Sparse 64 decode_table=" + table + " | " + difference);
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_TRUE(text.substr(at, text.find('\n', at) - at).ends_with("| 12 |")) << text;
  }
}

// A row of RULER whose step reads so many rows of a KiB each.
struct ReadRow {
  std::string variant;
  std::int64_t length = 2048;
  double rows_read = 0;
  int sample = 0;
  double score = 0;
};

EvalRow read_row(const ReadRow& of) {
  const bool full = of.variant.starts_with("full");
  const bool sparse = of.variant.find("ab-sparse") != std::string::npos;
  EvalRow row;
  row.model = "m";
  row.fingerprint = "f";
  row.suite = "ruler";
  row.task = of.sample % 2 == 0 ? "ruler/vt" : "ruler/cwe";
  row.length = of.length;
  row.sample = std::to_string(of.sample);
  row.seed = 42;
  row.variant = of.variant;
  row.policy = full ? "full" : "rest-kv";
  if (!full) row.budget = of.variant.substr(8, of.variant.find(' ', 8) - 8);
  row.decode_attn = sparse ? "ab-sparse" : "dense";
  if (sparse) row.decode_budget = "64";
  row.rows_read = of.rows_read;
  row.rows_held = of.rows_read;
  row.prompt_tokens = of.length - 100;  // of 1948 and 3996, whole pages have 1952 and 4000
  row.bytes_full = (row.prompt_tokens + 4) << 10;
  row.bytes = static_cast<std::int64_t>(of.rows_read + 15) << 10;  // room in the last page
  row.score = of.score;
  return row;
}

StudyPart part_at_64() {
  StudyPart part = study_parts("trial", {.arithmetic_samples = 0,
                                         .ruler_samples = 0,
                                         .ruler_seeds = 0,
                                         .ruler_lengths = {2048, 4096}})
                       .value()[1];
  EXPECT_TRUE(part.meets_ab_sparse);
  return part;
}

// AB-Sparse of 64 reads 330 rows at 2048 and 500 at 4096; ReST-KV of 64 ten more than its budget.
std::vector<EvalRow> rows_at_64() {
  std::vector<EvalRow> rows;
  for (int i = 0; i < 4; ++i) {
    for (const std::int64_t length : {2048, 4096}) {
      rows.push_back(read_row({"rest-kv 64", length, 74, i, 0.25}));
      rows.push_back(
          read_row({"full 64 decode_attn=ab-sparse", length, length == 2048 ? 330.0 : 500.0, i}));
      rows.push_back(
          read_row({"rest-kv 128 decode_attn=ab-sparse decode_budget=64", length, 75, i, 0.5}));
    }
  }
  return rows;
}

TEST(Study, ReStKvIsRunAtBudgetsOfEqualBytes) {
  const StudyPart part = part_at_64();
  const std::vector<EvalRow> rows = rows_at_64();
  // That of both together reads what ReST-KV 64 does, within two percent.
  const BudgetsByLength budgets = budgets_of_equal_bytes(part, "f", rows, {});
  EXPECT_EQ(budgets, (BudgetsByLength{{2048, {320}}, {4096, {490}}}));
  const std::vector<StudyPart> parts = parts_of_equal_bytes(part, budgets);
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[1].lengths, std::vector<std::size_t>{4096});
  ASSERT_EQ(parts[1].variants.size(), 1U);
  EXPECT_EQ(variant_label(parts[1].variants.front()), "rest-kv 490");
  EXPECT_EQ(parts[1].tasks, part.tasks);
  EXPECT_NE(parts[1].file_ending, part.file_ending);
  EXPECT_FALSE(parts[1].meets_ab_sparse);
  // A budget that was run and reads nearly as much is taken again; others, and other models', are
  // not.
  const std::vector<EvalRow> before = {read_row({"rest-kv 325", 2048, 335, 0}),
                                       read_row({"rest-kv 400", 4096, 410, 0})};
  EXPECT_EQ(budgets_of_equal_bytes(part, "f", rows, before),
            (BudgetsByLength{{2048, {325}}, {4096, {490}}}));
  EXPECT_EQ(budgets_of_equal_bytes(part, "another", rows, before), BudgetsByLength());
  EXPECT_EQ(budgets_of_equal_bytes(part, "f", {}, {}), BudgetsByLength());
}

// Where a step reads as much as the whole prompt there is nothing to drop.
TEST(Study, NoBudgetIsAsLargeAsThePrompt) {
  std::vector<EvalRow> rows = {read_row({"rest-kv 64", 2048, 74, 0}),
                               read_row({"full 64 decode_attn=ab-sparse", 2048, 1958, 0})};
  EXPECT_EQ(budgets_of_equal_bytes(part_at_64(), "f", rows, {}), BudgetsByLength());
}

TEST(Study, TheyMeetAtTheBudgetOfEachLength) {
  ReportData data;
  data.rows = rows_at_64();
  data.summary = summarise(data.rows, {}).value();
  ReportData equal;
  for (int i = 0; i < 4; ++i) {
    equal.rows.push_back(read_row({"rest-kv 320", 2048, 330, i, 0.5}));
    equal.rows.push_back(read_row({"rest-kv 490", 4096, 500, i, 1.0}));
  }
  const EqualReading found = findings_at_equal_reading(data, &equal);
  EXPECT_NE(found.table.find("| ReST-KV 320 at 2048, 490 at 4096 (415 rows, 0.41 MiB) - AB-Sparse "
                             "64 (415 rows, 0.41 MiB) | +75.0 (+75.0 to +75.0) |"),
            std::string::npos)
      << found.table;
  EXPECT_NE(found.table.find("| ReST-KV 128 + AB-Sparse 64 (75 rows, 0.07 MiB) - ReST-KV 64 (74 "
                             "rows, 0.07 MiB) |"),
            std::string::npos)
      << found.table;
  EXPECT_NE(found.in_short.find("ReST-KV 320 at 2048, 490 at 4096"), std::string::npos);
  // Without those rows the nearest that there is.
  EXPECT_NE(findings_at_equal_reading(data).table.find("| ReST-KV 64 (74 rows, 0.07 MiB) - "
                                                       "AB-Sparse 64 (415 rows"),
            std::string::npos);
}

// An earlier command may have run a budget that reads as much, but not on all prompts.
TEST(Study, OfBudgetsThatReadAsMuchTheOneThatWasAskedMostCounts) {
  ReportData data;
  data.rows = rows_at_64();
  data.summary = summarise(data.rows, {}).value();
  ReportData equal;
  for (int i = 0; i < 4; ++i) {
    equal.rows.push_back(read_row({"rest-kv 322", 2048, 332, i, 0.5}));
    if (i < 2) equal.rows.push_back(read_row({"rest-kv 320", 2048, 330, i, 1.0}));
    equal.rows.push_back(read_row({"rest-kv 400", 2048, 410, i, 1.0}));
    equal.rows.push_back(read_row({"rest-kv 400", 2048, 410, i + 4, 1.0}));
    equal.rows.push_back(read_row({"rest-kv 490", 4096, 500, i, 0.5}));
  }
  const std::string table = findings_at_equal_reading(data, &equal).table;
  EXPECT_NE(
      table.find("| ReST-KV 322 at 2048, 490 at 4096 (416 rows, 0.41 MiB) - AB-Sparse 64 (415 "
                 "rows, 0.41 MiB) | +50.0 (+50.0 to +50.0) |"),
      std::string::npos)
      << table;
}

TEST(Study, TheyMeetOnOneModel) {
  ReportData data;
  data.rows = rows_at_64();
  data.summary = summarise(data.rows, {}).value();
  ReportData equal;
  for (int i = 0; i < 4; ++i) {
    equal.rows.push_back(read_row({"rest-kv 320", 2048, 330, i, 0.5}));
    equal.rows.back().fingerprint = "of the same name";
  }
  EXPECT_EQ(findings_at_equal_reading(data, &equal).table, findings_at_equal_reading(data).table);
}

}  // namespace
}  // namespace restkv
