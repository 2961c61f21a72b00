// What the study runs.

#include "eval/study.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "eval/task.h"

namespace restkv {
namespace {

TEST(Study, EveryScaleNamesTasksAndMethodsThatExist) {
  for (const std::string_view scale : study_scales()) {
    const auto parts = study_parts(scale);
    ASSERT_TRUE(parts.ok());
    for (const StudyPart& part : *parts) {
      EXPECT_TRUE(select_tasks(part.tasks).ok()) << part.title;
      EXPECT_GT(part.samples, 0U);
      std::set<std::string> labels;
      for (const EvalVariant& variant : part.variants) {
        EXPECT_TRUE(check_kv_options(variant.kv).ok());
        EXPECT_TRUE(labels.insert(variant_label(variant)).second) << variant_label(variant);
      }
      // The research question's own methods, and what is taken out of ours.
      std::set<std::string> policies;
      for (const EvalVariant& variant : part.variants) policies.insert(policy_spec(variant.kv));
      if (part.is_about_template) {
        EXPECT_TRUE(policies.contains("rest-kv"));
        EXPECT_EQ(policies.contains("full"), part.form == PromptForm::kPlainSameTexts);
        continue;
      }
      EXPECT_EQ(variant_label(part.variants.front()), "full");
      for (const char* policy :
           {"full", "rest-kv", "snapkv", "h2o", "tova", "streaming-llm", "lacache", "random",
            "rest-kv:ema=off", "rest-kv:wo=off", "rest-kv:smoothing=max"}) {
        EXPECT_TRUE(policies.contains(policy)) << part.title << " lacks " << policy;
      }
    }
  }
}

TEST(Study, AnUnknownScaleListsTheKnownOnes) {
  const auto parts = study_parts("huge");
  ASSERT_FALSE(parts.ok());
  EXPECT_NE(parts.error().message.find("small, medium, large"), std::string::npos);
}

// Each query head with rows of its own, beside the same method per KV head.
TEST(Study, ReStKvIsComparedPerKvHeadAndPerQueryHead) {
  for (const std::string_view scale : study_scales()) {
    const auto parts = study_parts(scale).value();
    for (std::size_t part = 0; part < 2; ++part) {
      std::set<std::string> labels;
      for (const EvalVariant& variant : parts[part].variants) {
        labels.insert(variant_label(variant));
      }
      const std::string budget = part == 0 ? "rest-kv 10%" : "rest-kv 64";
      EXPECT_TRUE(labels.contains(budget));
      EXPECT_TRUE(labels.contains(budget + " granularity=query-head")) << scale;
    }
  }
}

TEST(Study, ReStKvAndAbSparseMeetAtEqualBytesRead) {
  const auto parts = study_parts("small").value();
  std::set<std::string> labels;
  for (const EvalVariant& variant : parts[1].variants) labels.insert(variant_label(variant));
  for (const char* label : {"rest-kv 64", "full 64 decode_attn=ab-sparse",
                            "rest-kv 128 decode_attn=ab-sparse decode_budget=64"}) {
    EXPECT_TRUE(labels.contains(label))
        << label << " is not in " << ::testing::PrintToString(labels);
  }
}

TEST(Study, SeedsOfTheSamplesAreAsked) {
  EXPECT_EQ(study_parts("small").value()[1].seeds, 1U);
  const auto parts =
      study_parts(
          "small",
          {.arithmetic_samples = 0, .ruler_samples = 0, .ruler_seeds = 3, .ruler_lengths = {}})
          .value();
  EXPECT_EQ(parts[0].seeds, 1U);
  EXPECT_EQ(parts[1].seeds, 3U);
}

TEST(Study, ATaskThatTheFullCacheFailsIsTooHard) {
  std::vector<EvalRow> rows;
  const auto add = [&rows](const char* model, const char* suite, const char* variant,
                           double score) {
    EvalRow row;
    row.model = "one name for all";
    row.fingerprint = model;
    row.suite = suite;
    row.variant = variant;
    row.score = score;
    rows.push_back(row);
  };
  add("m", "gsm8k", "full", 0);
  add("m", "gsm8k", "full", 0.5);
  add("m", "gsm8k", "rest-kv 64", 1);
  add("m", "multiarith", "full", 0.3);
  add("other", "gsm8k", "full", 1);
  EXPECT_EQ(suites_too_hard(rows, "m"), (std::map<std::string, double>{{"gsm8k", 0.25}}));
  EXPECT_TRUE(suites_too_hard(rows, "other").empty());
}

// Wilson's 95 % intervals: 1 of 20 is 1 to 24 %, 3 are 5 to 36 %, 9 are 26 to 66 %, 11 are 34 to 74
// %.
TEST(Study, AFewSamplesShowAnAbilityThatIsFarFromTheBorder) {
  const auto is_clear = [](int right) {
    std::vector<EvalRow> rows;
    for (int i = 0; i < 20; ++i) {
      EvalRow row;
      row.fingerprint = "m";
      row.suite = "gsm8k";
      row.variant = "full";
      row.score = i < right ? 1 : 0;
      rows.push_back(row);
    }
    return ability_is_clear(rows, "m");
  };
  for (const int right : {0, 1, 11, 20}) EXPECT_TRUE(is_clear(right)) << right;
  for (const int right : {3, 6, 9}) EXPECT_FALSE(is_clear(right)) << right;
}

}  // namespace
}  // namespace restkv
