// Official files: what is read from them is what stands in them.

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "eval/samples.h"

namespace restkv {
namespace {

using nlohmann::json;

std::vector<json> rows_of(const std::string& file, std::size_t most) {
  std::ifstream stream(shared_data() + "/" + file);
  std::vector<json> rows;
  for (std::string line; rows.size() < most && std::getline(stream, line);) {
    rows.push_back(json::parse(line));
  }
  return rows;
}

json file_of(const std::string& file) {
  std::ifstream stream(shared_data() + "/" + file);
  return json::parse(stream);
}

TEST(PublishedRuler, RowsAreSplitAtTheQuestion) {
  RESTKV_NEEDS_DATA();
  const auto rows = rows_of("ruler/4096/niah_multikey_3.jsonl", 500);
  const auto samples =
      samples_or_fail("niah_multikey_3", request_of({4096}, 600, Material::kPublished));
  ASSERT_EQ(samples.size(), 500U);
  ASSERT_EQ(rows.size(), 500U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const TaskSample& sample = samples[i];
    EXPECT_EQ(sample.prompt(), rows[i]["input"].get<std::string>());
    EXPECT_EQ(sample.answers, rows[i]["outputs"].get<std::vector<std::string>>());
    // The head, 51 needles and the end of the last line.
    EXPECT_EQ(lines_of(sample.context).size(), 53U);
    EXPECT_EQ(occurrences(sample.context, sample.answers[0]), 1U);
    EXPECT_TRUE(sample.question.ends_with("?")) << sample.question;
    EXPECT_TRUE(sample.answer_prefix.starts_with(" ") && sample.answer_prefix.ends_with(" is"));
    EXPECT_EQ(sample.wording, "official");
    EXPECT_EQ(sample.max_new_tokens, 128U);
  }
}

// Our own needles look as the official ones do: as many lines of the same shape, only other words.
TEST(PublishedRuler, MadeSamplesHaveTheSameStructure) {
  RESTKV_NEEDS_DATA();
  const TaskSample official =
      samples_or_fail("niah_multikey_3", request_of({4096}, 1, Material::kPublished)).at(0);
  const TaskSample made = samples_or_fail("niah_multikey_3", request_of({4096}, 1)).at(0);
  EXPECT_EQ(made.answers.size(), official.answers.size());
  EXPECT_EQ(made.answers[0].size(), official.answers[0].size());
  for (const TaskSample* sample : {&official, &made}) {
    const auto lines = lines_of(sample->context);
    for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
      EXPECT_TRUE(lines[i].ends_with(".")) << lines[i];
      EXPECT_EQ(std::ranges::count(lines[i], '-'), 8) << lines[i];  // two uuids
    }
    // The key of the question is the key of the needle.
    const auto needle = std::ranges::find_if(lines, [&](const std::string& line) {
      return line.find(sample->answers[0]) != std::string::npos;
    });
    ASSERT_NE(needle, lines.end());
    const std::size_t dash = needle->find('-');
    EXPECT_NE(sample->question.find(needle->substr(dash - 8, 36)), std::string::npos);
  }
}

TEST(PublishedLongBench, PromptsAreThoseOfMiniLongBench) {
  RESTKV_NEEDS_DATA();
  // Items of the small files are rows of the three complete ones.
  const std::map<std::string, std::size_t> items = {
      {"multi_news", 11}, {"multifieldqa_zh", 15}, {"passage_retrieval_zh", 15}};
  for (const auto& [set, count] : items) {
    std::vector<std::string> whole;
    for (const TaskSample& sample :
         samples_or_fail("longbench/" + set, request_of({}, 200, Material::kAuto))) {
      whole.push_back(sample.prompt());
    }
    EXPECT_EQ(whole.size(), 200U);
    const auto mini = samples_or_fail("minilongbench/" + set, request_of({}, 0, Material::kAuto));
    ASSERT_EQ(mini.size(), count);
    for (const TaskSample& sample : mini) {
      const std::string prompt = sample.prompt();
      const bool found = std::ranges::any_of(whole, [&](const std::string& one) {
        return one == prompt || one + "\n" == prompt;  // multi_news: one more newline
      });
      EXPECT_TRUE(found) << set << " " << sample.id;
    }
  }
}

TEST(PublishedLongBench, ConfigFilesRule) {
  RESTKV_NEEDS_DATA();
  const json tokens = file_of("longbench/config/dataset2maxlen.json");
  for (const std::string set : {"multi_news", "multifieldqa_zh", "passage_retrieval_zh"}) {
    const TaskSample sample =
        samples_or_fail("longbench/" + set, request_of({}, 1, Material::kAuto)).at(0);
    EXPECT_EQ(sample.max_new_tokens, tokens[set].get<std::size_t>());
    EXPECT_EQ(sample.length, 0U);
  }
  // The table agrees with the file.
  for (const TaskInfo* task : all_tasks()) {
    if (!task->name.starts_with("longbench/")) continue;
    EXPECT_EQ(task->max_new_tokens, tokens[std::string(task->name.substr(10))]) << task->name;
  }
}

// What is asked stands in the question, not in the text that a question-agnostic method sees.
TEST(PublishedMiniLongBench, QuestionsOfNarrativeQaAreNotInTheText) {
  RESTKV_NEEDS_DATA();
  for (const TaskSample& sample :
       samples_or_fail("minilongbench/narrativeqa", request_of({}, 0, Material::kAuto))) {
    EXPECT_NE(sample.question.find("Question: "), std::string::npos) << sample.question;
    EXPECT_EQ(sample.context.find("Now, answer the question"), std::string::npos) << sample.id;
  }
}

// The official runner counts the newline token as an end, and forbids it to be the first.
TEST(PublishedMiniLongBench, ASummaryOfADialogueEndsWithANewlineToken) {
  RESTKV_NEEDS_DATA();
  for (const TaskSample& sample :
       samples_or_fail("minilongbench/samsum", request_of({}, 2, Material::kAuto))) {
    EXPECT_EQ(sample.end_token, "\n");
    EXPECT_TRUE(sample.stops.empty());
    EXPECT_EQ(sample.min_new_tokens, 1U);
  }
}

TEST(PublishedLongBench, LongPromptsLoseTheirMiddle) {
  RESTKV_NEEDS_DATA();
  const auto full =
      samples_or_fail("longbench/multifieldqa_zh", request_of({}, 20, Material::kAuto));
  const auto cut =
      samples_or_fail("longbench/multifieldqa_zh", request_of({3500}, 20, Material::kAuto));
  ASSERT_EQ(cut.size(), full.size());
  for (std::size_t i = 0; i < cut.size(); ++i) {
    EXPECT_LE(cut[i].tokens, 3500U);
    EXPECT_EQ(cut[i].question, full[i].question);
    EXPECT_EQ(cut[i].context.substr(0, 300), full[i].context.substr(0, 300));
    EXPECT_TRUE(full[i].context.ends_with(cut[i].context.substr(cut[i].context.size() - 300)));
  }
}

TEST(PublishedMiniLongBench, EverySetIsReadWhole) {
  RESTKV_NEEDS_DATA();
  std::size_t items = 0;
  for (const TaskInfo* task : all_tasks()) {
    if (!task->name.starts_with("minilongbench/")) continue;
    const std::string set(task->name.substr(14));
    const json file = file_of("minilongbench/MiniLongBench_" + set + ".json");
    const auto samples = samples_or_fail(task->name, request_of({}, 0, Material::kAuto));
    ASSERT_EQ(samples.size(), file.size()) << set;
    items += samples.size();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const json& row = file[std::to_string(i)];
      EXPECT_EQ(samples[i].prompt(), row["origin_prompt"].get<std::string>()) << set;
      const json& gold = row["gold"].is_object() ? row["gold"]["answers"] : row["gold"];
      EXPECT_EQ(samples[i].answers, gold.get<std::vector<std::string>>()) << set;
      EXPECT_EQ(samples[i].classes.empty(), set != "trec" && set != "lsht") << set;
      // The question is the end of the prompt, not most of it.
      EXPECT_FALSE(samples[i].question.empty()) << set;
      EXPECT_LT(samples[i].question.size(), samples[i].context.size()) << set << i;
    }
  }
  EXPECT_EQ(items, 237U);
}

TEST(PublishedGsm8k, ProblemsAndExamples) {
  RESTKV_NEEDS_DATA();
  const auto zero = samples_or_fail("gsm8k/zero-shot", request_of({}, 0, Material::kAuto));
  EXPECT_EQ(zero.size(), 1319U);
  std::size_t negative = 0;
  for (const TaskSample& sample : zero) {
    EXPECT_TRUE(sample.context.empty());
    EXPECT_EQ(sample.answers.size(), 1U);
    EXPECT_EQ(sample.answers[0].find_first_not_of("-0123456789"), std::string::npos);
    negative += sample.answers[0].starts_with("-") ? 1 : 0;
  }
  EXPECT_EQ(negative, 2U);
  const auto train = rows_of("gsm8k/train.jsonl", 50);
  const std::vector<std::pair<std::string, std::size_t>> shots = {{"few-shot", 8},
                                                                  {"many-shot", 50}};
  for (const auto& [name, count] : shots) {
    const auto samples = samples_or_fail("gsm8k/" + name, request_of({}, 3, Material::kAuto));
    ASSERT_EQ(samples.size(), 3U);
    EXPECT_EQ(occurrences(samples[0].context, "Question: "), count);
    EXPECT_EQ(occurrences(samples[0].context, " The answer is "), count);
    EXPECT_EQ(samples[0].context.find("<<"), std::string::npos);
    EXPECT_EQ(samples[0].context.find("####"), std::string::npos);
    EXPECT_NE(samples[0].context.find(train[count - 1]["question"].get<std::string>()),
              std::string::npos);
    EXPECT_EQ(samples[0].context, samples[2].context);  // a common beginning
    EXPECT_TRUE(samples[2].question.ends_with("\nAnswer:"));
  }
}

TEST(PublishedGsm8k, ALengthIsFilledWithExamples) {
  RESTKV_NEEDS_DATA();
  for (const std::string suite : {"gsm8k", "multiarith"}) {
    const auto samples =
        samples_or_fail(suite + "/many-shot", request_of({2048, 6000}, 5, Material::kAuto));
    ASSERT_EQ(samples.size(), 10U);
    for (const TaskSample& sample : samples) {
      EXPECT_LE(sample.tokens, sample.length);
      EXPECT_GE(sample.tokens + 500, sample.length);
    }
    EXPECT_EQ(samples[0].context, samples[4].context);
    EXPECT_TRUE(samples[5].context.starts_with(samples[4].context));
  }
}

TEST(PublishedMultiArith, ProblemsAreStrippedAndWhole) {
  RESTKV_NEEDS_DATA();
  const auto samples = samples_or_fail("multiarith/zero-shot", request_of({}, 0, Material::kAuto));
  const json rows = file_of("multiarith/MultiArith.json");
  ASSERT_EQ(samples.size(), 600U);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(std::stod(samples[i].answers.at(0)), rows[i]["lSolutions"][0].get<double>());
    EXPECT_EQ(samples[i].answers[0].find('.'), std::string::npos);
    EXPECT_EQ(samples[i].question.find("Question:  "), std::string::npos);
    EXPECT_EQ(samples[i].question.find(" \nAnswer:"), std::string::npos);
  }
}

}  // namespace
}  // namespace restkv
