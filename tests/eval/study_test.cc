#include "eval/study.h"

#include <gtest/gtest.h>

#include <set>

#include "eval/study_findings.h"
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
        EXPECT_EQ(policies.contains("full"), part.form == PromptForm::kPlain);
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

void add_row(ReportData& data, int sample, const std::string& policy, const std::string& budget,
             double score) {
  EvalRow row;
  row.model = "m.gguf";
  row.suite = "ruler";
  row.task = "ruler/vt";
  row.length = 2048;
  row.seed = 42;
  row.sample = std::to_string(sample);
  row.policy = policy.substr(0, policy.find(':'));
  row.budget = budget;
  row.variant = policy + (budget.empty() ? "" : " " + budget);
  row.score = score;
  data.rows.push_back(row);
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

// The same samples with and without a template; of others nothing is said.
TEST(Study, TemplatesAreComparedOnTheSameSamples) {
  ReportData with;
  ReportData plain;
  for (int i = 0; i < 30; ++i) add_row(with, i, "rest-kv", "64", i < 10 ? 1 : 0);
  for (int i = 0; i < 10; ++i) add_row(plain, i, "rest-kv", "64", 0.25);
  with.summary = summarise(with.rows, {}).value();
  plain.summary = summarise(plain.rows, {}).value();
  const std::string text = findings_without_template(with, plain);
  EXPECT_NE(text.find("The same samples of ruler/vt,"), std::string::npos) << text;
  EXPECT_NE(text.find("| ruler, m | rest-kv 64 | 100.0 | 25.0 | -75.0 (-75.0 to -75.0) | 10 |"),
            std::string::npos)
      << text;
}

// Files of one name may hold several models, and a database may call one of them otherwise.
TEST(Study, RowsWithoutATemplateAreOfTheSameModel) {
  ReportData with;
  ReportData plain;
  for (int i = 0; i < 10; ++i) {
    add_row(with, i, "rest-kv", "64", 1);
    add_row(plain, i, "rest-kv", "64", 0.25);
    plain.rows.back().fingerprint = "another";
  }
  plain.summary = summarise(plain.rows, {}).value();
  EXPECT_EQ(findings_without_template(with, plain), "");
  for (EvalRow& row : with.rows) {
    row.fingerprint = "another";
    row.model = "m.gguf another";
  }
  const std::string text = findings_without_template(with, plain);
  EXPECT_NE(text.find("| ruler, m.gguf another | rest-kv 64 | 100.0 | 25.0 |"), std::string::npos)
      << text;
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

// The same variant in another mode is held against the usual one.
TEST(Study, TheTemplatesEndIsComparedOnTheSameSamples) {
  ReportData usual;
  ReportData before_tail;
  for (int i = 0; i < 10; ++i) {
    add_row(usual, i, "rest-kv", "64", 0.25);
    add_row(usual, i, "snapkv", "64", 1);
    add_row(before_tail, i, "rest-kv", "64", 1);
    before_tail.rows.back().variant += " mode=before-tail";
  }
  usual.summary = summarise(usual.rows, {}).value();
  before_tail.summary = summarise(before_tail.rows, {}).value();
  const std::string text = findings_before_tail(usual, before_tail);
  EXPECT_TRUE(text.starts_with("The same samples of ruler/vt: ")) << text;
  EXPECT_NE(text.find("| ruler, m | rest-kv 64 | 25.0 | 100.0 | +75.0 (+75.0 to +75.0) | 10 |"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("snapkv"), std::string::npos) << text;
  EXPECT_EQ(findings_before_tail(usual, usual).find("+75"), std::string::npos);
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

// What is kept and what is read of it: the same rows are read with and without AB-Sparse.
// Rows of query heads are another method: a prompt counts once.
TEST(Study, ReStKvMeetsAbSparseByRowsOfKvHeads) {
  ReportData data;
  data.title = "t";
  for (int i = 0; i < 12; ++i) {
    for (const auto& [variant, score] :
         std::map<std::string, double>{{"rest-kv 64", 0.75},
                                       {"rest-kv 64 granularity=query-head", 0},
                                       {"full decode_attn=ab-sparse", 0.25}}) {
      data.rows.push_back(row_at_64({.model = "m", .variant = variant, .sample = i}, score));
    }
  }
  data.summary = summarise(data.rows, {}).value();
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
  ReportData data;
  for (int i = 0; i < 12; ++i) {
    for (const auto& [variant, score] :
         std::map<std::string, double>{{"rest-kv 64", 0.75},
                                       {"full decode_attn=ab-sparse decode_table=aaaa", 0.25},
                                       {"full decode_attn=ab-sparse decode_table=bbbb", 0.5}}) {
      data.rows.push_back(row_at_64({.model = "m", .variant = variant, .sample = i}, score));
    }
  }
  data.summary = summarise(data.rows, {}).value();
  const std::string text = findings_at_equal_reading(data).table;
  for (const auto& [table, difference] : std::map<std::string, std::string>{
           {"aaaa", "**+50.0 (+50.0 to +50.0)**"}, {"bbbb", "**+25.0 (+25.0 to +25.0)**"}}) {
    const std::size_t at =
        text.find("| ReST-KV 64 - AB-Sparse 64 decode_table=" + table + " | " + difference);
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_TRUE(text.substr(at, text.find('\n', at) - at).ends_with("| 12 |")) << text;
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

}  // namespace
}  // namespace restkv
