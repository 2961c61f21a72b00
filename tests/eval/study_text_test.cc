// What the study's text says of methods at one budget.

#include "eval/study.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "eval/study_findings.h"
#include "eval/study_rows.h"

namespace restkv {
namespace {

std::string text_of(double full, double rest_kv) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 20; ++i) {
    for (const bool compressed : {false, true}) {
      EvalRow row;
      row.model = "m";
      row.suite = "gsm8k";
      row.task = "gsm8k/few-shot";
      row.sample = std::to_string(i);
      row.policy = compressed ? "rest-kv" : "full";
      row.budget = compressed ? "10%" : "";
      row.variant = compressed ? "rest-kv 10%" : "full";
      row.score = compressed ? rest_kv : full;
      data.rows.push_back(row);
    }
  }
  data.summary = summarise(data.rows, {}).value();
  return study_markdown({.prompts = data, .command = "restkv study"});
}

TEST(Study, SaysWhatTheFiguresAllow) {
  EXPECT_NE(text_of(1, 0).find(
                "| gsm8k, m | rest-kv 10% | 0.0 | **-100.0 (-100.0 to -100.0)** | < 0.001 | 20 |"),
            std::string::npos)
      << text_of(1, 0);
  EXPECT_NE(text_of(1, 1).find("| +0.0 (+0.0 to +0.0) | 1.000 |"), std::string::npos);
  EXPECT_EQ(text_of(1, 1).find("too hard"), std::string::npos);
  EXPECT_NE(text_of(0, 0).find("too hard for this model"), std::string::npos);
}

TEST(Study, SaysWhatRowsOfQueryHeadsBringAndCost) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 20; ++i) {
    for (const char* granularity : {"kv-head", "query-head"}) {
      EvalRow row;
      row.model = "m";
      row.suite = "ruler";
      row.task = "ruler/vt";
      row.sample = std::to_string(i);
      row.policy = "rest-kv";
      row.budget = "64";
      const bool apart = std::string(granularity) == "query-head";
      row.variant = apart ? "rest-kv 64 granularity=query-head" : "rest-kv 64";
      row.granularity = granularity;
      row.score = apart ? 1 : 0;
      row.bytes = std::int64_t{apart ? 5 : 2} << 20;
      data.rows.push_back(row);
    }
  }
  data.summary = summarise(data.rows, {}).value();
  const std::string text = study_markdown({.prompts = data, .command = "restkv study"});
  EXPECT_NE(
      text.find("| ruler, m | rest-kv 64 | 2.00 | 5.00 | **+100.0 (+100.0 to +100.0)** | 20 |"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("against other methods"), std::string::npos);
}

// What a part adds is the whole minus the rest without it, whichever of both comes first in tables;
// and what is taken out of ReST-KV is no other method.
TEST(Study, PartsOfReStKvHaveATableOfTheirOwn) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 20; ++i) {
    add_row(data, i, "rest-kv", "64", 1);
    add_row(data, i, "rest-kv:ema=off", "64", 0);
    add_row(data, i, "rest-kv:wo=off", "64", 1);
    add_row(data, i, "rest-kv", "256", 0);
    add_row(data, i, "rest-kv:ema=off", "256", 1);
    add_row(data, i, "snapkv", "64", 0);
  }
  data.summary = summarise(data.rows, {}).value();
  const std::string parts = findings_of_parts(data);
  EXPECT_NE(parts.find("| ruler, m, 20 prompts | 64 | 256 |"), std::string::npos) << parts;
  const std::size_t ema = parts.find("| moving average");
  ASSERT_NE(ema, std::string::npos);
  EXPECT_NE(parts.find("| **+100.0 (+100.0 to +100.0)** | **-100.0 (-100.0 to -100.0)** |\n", ema),
            std::string::npos)
      << parts;
  EXPECT_NE(parts.find("| +0.0 (+0.0 to +0.0) |  |\n"), std::string::npos) << parts;
  const std::string others = findings_between_methods(data);
  EXPECT_EQ(others.find("ema=off"), std::string::npos) << others;
  EXPECT_NE(others.find("| snapkv |"), std::string::npos) << others;
}

TEST(Study, ModelsOfOneNameHavePicturesOfTheirOwn) {
  ReportData data;
  for (const char* fingerprint : {"11111111", "22222222"}) {
    for (const char* budget : {"", "64", "256"}) {
      add_row(data, 0, budget[0] == '\0' ? "full" : "rest-kv", budget, 1);
      data.rows.back().fingerprint = fingerprint;
    }
  }
  name_models(data.rows);
  data.summary = summarise(data.rows, {}).value();
  const auto pictures = study_pictures(data);
  EXPECT_EQ(pictures.size(), 2U);
  EXPECT_TRUE(pictures.contains("study-ruler-m-11111111.svg"))
      << ::testing::PrintToString(pictures);
}

// Lengths and seeds that are not sampled alike are told.
TEST(Study, SaysWhereSamplesAreUneven) {
  ReportData data;
  data.title = "t";
  const auto add = [&data](int samples, std::int64_t length, std::int64_t seed) {
    for (int i = 0; i < samples; ++i) {
      for (const char* policy : {"full", "rest-kv"}) {
        add_row(data, i, policy, std::string(policy) == "full" ? "" : "64", i % 2);
        data.rows.back().length = length;
        data.rows.back().seed = seed;
      }
    }
  };
  const auto text = [&data] {
    data.summary = summarise(data.rows, {}).value();
    return study_markdown({.prompts = data, .command = "restkv study"});
  };
  add(10, 2048, 42);
  add(10, 4096, 42);
  EXPECT_EQ(text().find("Samples of each task"), std::string::npos);
  add(3, 8192, 42);
  add(5, 2048, 43);
  EXPECT_NE(
      text().find("\n\nSamples of each task of ruler, m: 10 of 2048 tokens under seed 42, 5 of "
                  "2048 tokens under seed 43, 10 of 4096 tokens under seed 42, 3 of 8192 "
                  "tokens under seed 42.\n\n"),
      std::string::npos)
      << text();
}

TEST(Study, SaysHowMuchWasRunAndWhatThatCanFind) {
  ReportData data;
  for (int i = 0; i < 20; ++i) {
    add_row(data, i, "full", "", 1);
    add_row(data, i, "rest-kv", "64", 1);
    add_row(data, i, "snapkv", "64", 0);
    add_row(data, i, "tova", "64", i % 2);
  }
  data.summary = summarise(data.rows, {}).value();
  const std::string text = findings_of_limits(data);
  EXPECT_NE(
      text.find("- **ruler, m**: 20 prompts of 2048 tokens (1 task, 1 seed); the full cache "
                "scores 100.0 %. Of 3 comparisons of ReST-KV at one budget, 3 are told apart"),
      std::string::npos)
      << text;
  // Differences of 0 and 1 in equal parts have a deviation of 0.513: (1.96 + 0.84) 0.513 /
  // sqrt(20).
  EXPECT_NE(text.find("a difference of 32 points"), std::string::npos) << text;
}

// Six methods have 15 pairs, of which five are ReST-KV's: those alone are corrected for one
// another.
TEST(Study, PairsOfOtherMethodsDoNotWeakenTheQuestion) {
  ReportData data;
  for (int i = 0; i < 20; ++i) {
    add_row(data, i, "full", "", 1);
    add_row(data, i, "rest-kv", "64", i < 8 ? 1 : 0);
    for (const char* other : {"snapkv", "tova", "h2o", "random"}) {
      add_row(data, i, other, "64", 0);
    }
    add_row(data, i, "rest-kv:ema=off", "64", 0);
  }
  data.summary = summarise(data.rows, {}).value();
  ASSERT_EQ(data.summary.methods.size(), 15U);
  const ReportData asked = for_the_question(data);
  ASSERT_EQ(asked.summary.methods.size(), 5U);
  for (const MethodComparison& methods : asked.summary.methods) {
    // Eight of eight signs: p = 2 / 2^8.
    EXPECT_DOUBLE_EQ(methods.comparison.p, 2.0 / 256);
    EXPECT_DOUBLE_EQ(methods.comparison.p_holm, 5 * 2.0 / 256);
    EXPECT_TRUE(is_told_apart(methods.comparison));
  }
  for (const MethodComparison& methods : data.summary.methods) {
    EXPECT_FALSE(is_told_apart(methods.comparison)) << methods.first << " " << methods.second;
  }
  // One variant against the full cache: nothing to correct for.
  for (const SummaryEntry& entry : asked.summary.entries) {
    if (entry.level != SummaryLevel::kSuite || entry.variant != "rest-kv 64") continue;
    EXPECT_DOUBLE_EQ(entry.against_full->p_holm, entry.against_full->p);
  }
}

TEST(Study, SaysInShortWhatIsToldApart) {
  ReportData data;
  for (int i = 0; i < 40; ++i) {
    add_row(data, i, "full", "", 1);
    add_row(data, i, "rest-kv", "64", i < 20 ? 1 : 0);
    add_row(data, i, "random", "64", 0);
    add_row(data, i, "snapkv", "64", 1);
    add_row(data, i, "tova", "64", i < 19 ? 1 : 0);
    add_row(data, i, "rest-kv:ema=off", "64", 0);
  }
  data.summary = summarise(data.rows, {}).value();
  EXPECT_EQ(findings_in_short(for_the_question(data)),
            "- **ruler, m**, ReST-KV 64: 50.0 % of 40 prompts, -50.0 from the full cache's; better "
            "than `random`; "
            "worse than `snapkv`; not told apart from `tova`.\n");
}

// A table of methods by budgets; a schedule meets its like, or ReST-KV as it is by default.
// Steps that read a part of what is kept are compared at equal bytes only, also where as many rows
// are kept as some method keeps.
TEST(Study, ReStKvThatReadsAPartMeetsNoMethodAtItsBudget) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 20; ++i) {
    add_row(data, i, "rest-kv", "128", 1);
    add_row(data, i, "snapkv", "128", 0);
    add_row(data, i, "rest-kv", "128", 0);
    data.rows.back().variant += " decode_attn=ab-sparse decode_budget=64";
  }
  data.summary = summarise(data.rows, {}).value();
  ASSERT_EQ(data.summary.methods.size(), 3U);
  EXPECT_EQ(for_the_question(data).summary.methods.size(), 1U);
  const std::string text = study_markdown({.prompts = data, .command = "restkv study"});
  EXPECT_NE(text.find("| snapkv | **+100.0 (+100.0 to +100.0)** |\n"), std::string::npos) << text;
}

TEST(Study, ReStKvMeetsOtherMethodsAtTheSameBudget) {
  ReportData data;
  data.title = "t";
  const auto add = [&data](int sample, const std::string& policy, const std::string& budget,
                           const std::string& schedule, double score) {
    EvalRow row;
    row.model = "m.gguf";
    row.suite = "gsm8k";
    row.task = "gsm8k/few-shot";
    row.sample = std::to_string(sample);
    row.policy = policy;
    row.budget = budget;
    row.schedule = schedule.empty() ? "once" : schedule;
    row.variant = policy + " " + budget + (schedule.empty() ? "" : " schedule=" + schedule);
    row.score = score;
    data.rows.push_back(row);
  };
  for (int i = 0; i < 20; ++i) {
    add(i, "rest-kv", "10%", "", 1);
    add(i, "rest-kv", "25%", "", 1);
    add(i, "rest-kv", "25%", "every:32", i % 2);
    add(i, "tova", "10%", "", 0);
    add(i, "tova", "25%", "", 1);
    add(i, "tova", "25%", "every:32", 0);
    add(i, "tova", "25%", "cap", 0);
  }
  data.summary = summarise(data.rows, {}).value();
  // tova, at 25 % twice, and cap, meet rest-kv; every:32 meets its like, which meets rest-kv too.
  EXPECT_EQ(for_the_question(data).summary.methods.size(), 5U);
  const std::string text =
      study_markdown({.prompts = data, .command = "restkv study", .left_out = 7});
  EXPECT_NE(text.find("\n\n7 prompts that not every method has answered are left out.\n\n"),
            std::string::npos)
      << text;
  const char* const all = "**+100.0 (+100.0 to +100.0)**";
  EXPECT_NE(text.find("| gsm8k, m, 20 prompts | 10% | 25% |"), std::string::npos) << text;
  EXPECT_NE(text.find(std::string("| tova | ") + all + " | +0.0 (+0.0 to +0.0) |\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(std::string("| tova schedule=cap |  | ") + all + " |\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("| tova schedule=every:32 |  | **+50.0 ("), std::string::npos) << text;
}

}  // namespace
}  // namespace restkv
