// The published files of InfiniteBench, stood in for by rows of our own in their form: what of a
// row goes where in the prompt, what the right answers are, and what is cut.

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/samples.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

class InfiniteBenchFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = process_folder() / "infinitebench_data";
    std::filesystem::create_directories(folder_ / "infinitebench");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& task, const std::vector<json>& rows) const {
    std::ofstream file(folder_ / "infinitebench" / (task + ".jsonl"));
    for (const json& row : rows) file << row << "\n";
  }
  [[nodiscard]] std::vector<TaskSample> load(const std::string& task,
                                             std::vector<std::size_t> lengths = {}) const {
    TaskRequest request = request_of(std::move(lengths), 5, Material::kPublished);
    request.data_dir = folder_.string();
    return samples_or_fail("infinitebench/" + task, request);
  }
  // The only sample of a file with one row, read whole.
  [[nodiscard]] TaskSample only(const std::string& task, const json& row) const {
    write(task, {row});
    const auto samples = load(task);
    EXPECT_EQ(samples.size(), 1U) << task;
    if (samples.size() != 1) return {};
    EXPECT_EQ(samples[0].id, "0/0");
    EXPECT_EQ(samples[0].source, "infinitebench/" + task + ".jsonl");
    EXPECT_EQ(samples[0].metric, find_task("infinitebench/" + task)->metric);
    return samples[0];
  }

  std::filesystem::path folder_;
};

TEST_F(InfiniteBenchFiles, Summary) {
  const TaskSample sample = only("longbook_sum_eng", {{"context", "A book."},
                                                      {"input", ""},
                                                      {"answer", {"What happens."}},
                                                      {"options", json::array()}});
  EXPECT_TRUE(sample.context.ends_with("\n\nA book.")) << sample.context;
  EXPECT_EQ(sample.question, "\n\nWrite a summary of the book above.\n");
  EXPECT_EQ(sample.answer_prefix, "Summary:");
  EXPECT_EQ(sample.answers, Texts{"What happens."});
}

TEST_F(InfiniteBenchFiles, BookQuestions) {
  const json row = {{"context", "A book."}, {"input", "Who did it?"}, {"answer", {"Ann", "she"}}};
  const TaskSample sample = only("longbook_qa_eng", row);
  EXPECT_TRUE(sample.context.ends_with("\n\nA book.")) << sample.context;
  EXPECT_EQ(sample.question + sample.answer_prefix, "\n\nQuestion: Who did it?\nAnswer:");
  EXPECT_EQ(sample.answers, (Texts{"Ann", "she"}));
}

TEST_F(InfiniteBenchFiles, ChineseBookQuestions) {
  const TaskSample sample =
      only("longbook_qa_chn", {{"context", "一本书。"}, {"input", "谁？"}, {"answer", {"小明"}}});
  EXPECT_TRUE(sample.context.ends_with("\n\n一本书。")) << sample.context;
  EXPECT_EQ(sample.question + sample.answer_prefix, "\n\n问题：谁？\n答案：");
  EXPECT_EQ(sample.answers, Texts{"小明"});
}

// The file gives the right option's text; its letter counts as well.
TEST_F(InfiniteBenchFiles, Choices) {
  const json row = {{"context", "The text."},
                    {"input", "Which one?"},
                    {"answer", {"second"}},
                    {"options", {"first", "second", "third", "fourth"}}};
  const std::string labels = "\nA. first\nB. second\nC. third\nD. fourth\n";
  const TaskSample book = only("longbook_choice_eng", row);
  EXPECT_TRUE(book.context.ends_with("\n\nThe text.")) << book.context;
  EXPECT_TRUE(book.question.starts_with("\n\nQuestion: Which one?\n")) << book.question;
  EXPECT_TRUE(book.question.ends_with(labels)) << book.question;
  EXPECT_EQ(book.answers, (Texts{"second", "B"}));
  const TaskSample code = only("code_debug", row);
  EXPECT_TRUE(code.context.ends_with("\n\nThe text.")) << code.context;
  EXPECT_EQ(code.question, "\n\nWhich function has the error?" + labels);
  EXPECT_EQ(code.answer_prefix, "The right option is:");
  EXPECT_EQ(code.answers, (Texts{"second", "B"}));
}

TEST_F(InfiniteBenchFiles, Dialogue) {
  const std::string dialogue = "ANN: Hello.\n$$MASK$$: Good day, Ann.\nANN: And to you.";
  const TaskSample sample = only(
      "longdialogue_qa_eng",
      {{"context", dialogue}, {"input", "Who is $$MASK$$?"}, {"answer", {"BOB", "BOB STONE"}}});
  EXPECT_TRUE(sample.context.ends_with("\n\n" + dialogue)) << sample.context;
  EXPECT_EQ(sample.question, "\n\nWhich name does $$MASK$$ stand for? Give the name alone.\n");
  EXPECT_EQ(sample.answer_prefix, "The name is");
  EXPECT_EQ(sample.answers, (Texts{"BOB", "BOB STONE"}));
}

// The question of the file is left out for ours, which begins the answer too.
TEST_F(InfiniteBenchFiles, HiddenKeys) {
  for (const auto& [task, name] : std::vector<std::pair<std::string, std::string>>{
           {"passkey", "pass key"}, {"number_string", "sequence of digits"}}) {
    const TaskSample sample = only(task, {{"context", "Noise. It is 07118. Noise."},
                                          {"input", "What is it?"},
                                          {"answer", {"07118"}}});
    EXPECT_TRUE(sample.context.ends_with("\n\nNoise. It is 07118. Noise.")) << sample.context;
    EXPECT_EQ(sample.question, "\nWhat is the " + name + "?\n");
    EXPECT_EQ(sample.answer_prefix, "The " + name + " is");
    EXPECT_EQ(sample.answers, Texts{"07118"});  // not 7118
  }
}

// Here the file's own question is asked, with the cue at its end.
TEST_F(InfiniteBenchFiles, PairsAndExtremes) {
  const TaskSample pairs = only(
      "kv_retrieval",
      {{"context", R"({"a-1": "b-2"})"}, {"input", "Key: \"a-1\"\nIts value:"}, {"answer", "b-2"}});
  EXPECT_TRUE(pairs.context.ends_with("\n\n{\"a-1\": \"b-2\"}")) << pairs.context;
  EXPECT_EQ(pairs.question, "\nKey: \"a-1\"\nIts value:");
  EXPECT_EQ(pairs.answer_prefix, "");
  EXPECT_EQ(pairs.answers, Texts{"b-2"});
  // Numbers, alone or in a list.
  const TaskSample whole = only(
      "math_find", {{"context", "[3, 9, 4]"}, {"input", "The largest number is:"}, {"answer", 9}});
  EXPECT_EQ(whole.context + whole.question, "[3, 9, 4]\n\nThe largest number is:");
  EXPECT_EQ(whole.answers, Texts{"9"});
  const TaskSample half =
      only("math_find", {{"context", "[3, 4]"}, {"input", "The median is:"}, {"answer", {3.5}}});
  EXPECT_EQ(half.answers, Texts{"3.5"});
}

TEST_F(InfiniteBenchFiles, LongSums) {
  const TaskSample sample =
      only("math_calc", {{"context", "1 + 2 - 3"}, {"input", ""}, {"answer", {3, 0}}});
  EXPECT_TRUE(sample.context.ends_with("\n\n1 + 2 - 3")) << sample.context;
  EXPECT_NE(sample.question.find("after each step"), std::string::npos);
  EXPECT_EQ(sample.answer_prefix, "[");
  EXPECT_EQ(sample.answers, (Texts{"3", "0"}));
  // Older files have a list within the list, and call the context otherwise.
  const TaskSample old = only("math_calc", {{"content", "1 + 2 - 3"}, {"answer", {{3, 0}}}});
  EXPECT_EQ(old.prompt(), sample.prompt());
  EXPECT_EQ(old.answers, sample.answers);
}

// A length cuts the middle out of the text: head, question and the answer's beginning stay.
TEST_F(InfiniteBenchFiles, LongTextsLoseTheirMiddle) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "w" + std::to_string(i) + " ";
  const json choice = {{"context", text},
                       {"input", "Which one?"},
                       {"answer", "second"},
                       {"options", {"first", "second", "third", "fourth"}}};
  for (const std::string task :
       {"longbook_sum_eng", "longbook_qa_eng", "longbook_qa_chn", "longbook_choice_eng",
        "longdialogue_qa_eng", "code_debug", "passkey", "number_string", "kv_retrieval"}) {
    const TaskSample whole = only(task, choice);
    const auto samples = load(task, {2048});
    ASSERT_EQ(samples.size(), 1U) << task;
    const TaskSample& cut = samples[0];
    EXPECT_EQ(cut.id, "2048/0");
    EXPECT_LE(cut.tokens, 2048U) << task;
    EXPECT_GE(cut.tokens + 4, 2048U) << task;  // both halves are rounded, and tokenised anew
    EXPECT_GT(whole.tokens, 2048U) << task;
    EXPECT_EQ(cut.question, whole.question) << task;
    EXPECT_EQ(cut.answer_prefix, whole.answer_prefix) << task;
    EXPECT_EQ(cut.answers, whole.answers) << task;
    // The beginning of the context and its end, and nothing between.
    const auto same = std::ranges::mismatch(cut.context, whole.context).in1;
    const std::string head(cut.context.begin(), same);
    const std::string tail(same, cut.context.end());
    EXPECT_NE(head.find("w0 w1 w2 "), std::string::npos) << task;
    EXPECT_TRUE(whole.context.ends_with(tail)) << task;
    EXPECT_TRUE(tail.ends_with("w1998 w1999 ")) << task;
    EXPECT_EQ(cut.context.find("w1000 "), std::string::npos) << task;
  }
}

// As many rows as were asked for, in the file's order.
TEST_F(InfiniteBenchFiles, RowsInOrder) {
  std::vector<json> rows;
  for (int i = 0; i < 7; ++i) {
    rows.push_back({{"context", "c"}, {"input", "q" + std::to_string(i)}, {"answer", "a"}});
  }
  write("longbook_qa_eng", rows);
  const auto samples = load("longbook_qa_eng");
  ASSERT_EQ(samples.size(), 5U);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_NE(samples[i].question.find("q" + std::to_string(i)), std::string::npos);
    EXPECT_EQ(samples[i].id, "0/" + std::to_string(i));
  }
}

}  // namespace
}  // namespace restkv
