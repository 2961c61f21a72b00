// A smaller number of samples is the beginning of a larger one: a run can be made longer.

#include <filesystem>
#include <fstream>

#include "eval/samples.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

void expect_begins_alike(const std::string& task, TaskRequest request, std::size_t few,
                         std::size_t many) {
  request.samples = few;
  const auto first = samples_or_fail(task, request);
  request.samples = many;
  const auto all = samples_or_fail(task, request);
  ASSERT_EQ(first.size(), few) << task;
  ASSERT_EQ(all.size(), many) << task;
  for (std::size_t i = 0; i < few; ++i) {
    EXPECT_EQ(first[i].id, all[i].id) << task;
    EXPECT_EQ(first[i].prompt(), all[i].prompt()) << task << " " << i;
    EXPECT_EQ(first[i].answers, all[i].answers) << task << " " << i;
  }
}

// But where samples are spread over depths.
TEST(SamplePrefix, OfTasksThatAreMade) {
  for (const TaskInfo* task : all_tasks()) {
    const bool spread = task->name == "infinitebench/kv_retrieval" ||
                        task->name == "infinitebench/passkey" ||
                        task->name == "infinitebench/number_string";
    if (!task->needs_length || spread) continue;
    expect_begins_alike(std::string(task->name), request_of({2048}, 0), 1, 2);
  }
}

// More questions than documents fit into the prompt.
TEST(SamplePrefix, OfQuestionsAboutOwnDocuments) {
  for (const std::string task : {"ruler/qa_1", "ruler/qa_2"}) {
    expect_begins_alike(task, request_of({1024}, 0), 2, 90);
  }
}

// The second problem is the longest, and leaves room for fewer examples.
TEST(SamplePrefix, OfManyShots) {
  const std::filesystem::path folder = process_folder() / "many_shots";
  std::filesystem::create_directories(folder / "gsm8k");
  std::filesystem::create_directories(folder / "multiarith");
  std::string long_question;
  for (int i = 0; i < 100; ++i) long_question += "and one more apple ";
  std::ofstream(folder / "gsm8k/test.jsonl")
      << R"({"question": "One?", "answer": "1\n#### 1"})" << "\n"
      << R"({"question": ")" << long_question << R"(?", "answer": "2\n#### 2"})" << "\n";
  std::ofstream(folder / "multiarith/MultiArith.json")
      << R"([{"sQuestion": "One?", "lSolutions": [1.0]}, {"sQuestion": ")" << long_question
      << R"(?", "lSolutions": [2.0]}])";
  std::ofstream train(folder / "gsm8k/train.jsonl");
  for (int i = 0; i < 60; ++i) {
    train << R"({"question": "How many are )" << i << R"( apples?", "answer": "So many.\n#### )"
          << i << "\"}\n";
  }
  train.close();
  TaskRequest request = request_of({1500}, 0, Material::kAuto);
  request.data_dir = folder.string();
  for (const std::string task : {"gsm8k/many-shot", "multiarith/many-shot"}) {
    expect_begins_alike(task, request, 1, 2);
  }
}

}  // namespace
}  // namespace restkv
