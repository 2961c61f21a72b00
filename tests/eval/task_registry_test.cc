#include <algorithm>
#include <set>

#include "eval/samples.h"

namespace restkv {
namespace {

std::vector<std::string> selected(const std::vector<std::string>& names) {
  std::vector<std::string> found;
  const auto tasks = select_tasks(names);
  if (!tasks) return {tasks.error().message};
  for (const TaskInfo* task : *tasks) found.emplace_back(task->name);
  return found;
}

TEST(TaskRegistry, EveryEntryIsComplete) {
  std::set<std::string_view> names;
  for (const TaskFamily* family : all_task_families()) {
    for (const TaskInfo& task : family->tasks) {
      EXPECT_TRUE(names.insert(task.name).second) << task.name;
      EXPECT_TRUE(task.name.starts_with(std::string(family->suite) + "/")) << task.name;
      EXPECT_FALSE(task.summary.empty()) << task.name;
      EXPECT_FALSE(task.category.empty()) << task.name;
      EXPECT_FALSE(task.metric.empty()) << task.name;
      EXPECT_GT(task.max_new_tokens, 0U) << task.name;
      EXPECT_GT(task.samples, 0U) << task.name;
      EXPECT_NE(task.make, nullptr) << task.name;
      EXPECT_EQ(find_task(task.name), &task);
    }
  }
}

TEST(TaskRegistry, SuitesHaveThePublishedNumbersOfTasks) {
  EXPECT_EQ(selected({"ruler"}).size(), 13U);
  EXPECT_EQ(selected({"longbench"}).size(), 16U);
  EXPECT_EQ(selected({"longbench/all"}).size(), 21U);
  EXPECT_EQ(selected({"minilongbench/all"}).size(), 21U);
  EXPECT_EQ(selected({"infinitebench"}).size(), 10U);
  EXPECT_EQ(selected({"infinitebench/all"}).size(), 12U);
  EXPECT_EQ(selected({"needle"}), std::vector<std::string>{"needle/grid"});
  EXPECT_EQ(selected({"gsm8k", "multiarith"}).size(), 6U);
}

TEST(TaskRegistry, NamesAreResolvedOnceAndInOrder) {
  EXPECT_EQ(selected({"vt", "longbench/qasper", "ruler/vt"}),
            (std::vector<std::string>{"ruler/vt", "longbench/qasper"}));
  // Two suites have it.
  EXPECT_EQ(find_task("qasper"), nullptr);
}

TEST(TaskRegistry, UnknownNamesAreErrorsWithHints) {
  EXPECT_EQ(selected({"niah_singel_1"}).front().find("there is no task 'niah_singel_1'"), 0U);
  EXPECT_NE(selected({"niah_singel_1"}).front().find("ruler/niah_single_1"), std::string::npos);
  EXPECT_NE(selected({"qasper"}).front().find("minilongbench/qasper"), std::string::npos);
  EXPECT_NE(selected({""}).front().find("suites:"), std::string::npos);
}

TEST(TaskRegistry, MadeTasksNeedALengthThatFits) {
  for (const TaskInfo* task : all_tasks()) {
    if (!task->needs_length) continue;
    const auto none = make_samples(*task, request_of({}, 1));
    ASSERT_FALSE(none.ok()) << task->name;
    EXPECT_EQ(none.error().code, ErrorCode::kInvalidArgument) << task->name;
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{60}}) {
      const auto tiny = make_samples(*task, request_of({length}, 1));
      ASSERT_FALSE(tiny.ok()) << task->name;
      EXPECT_EQ(tiny.error().code, ErrorCode::kInvalidArgument) << task->name;
      EXPECT_NE(tiny.error().message.find(task->name), std::string::npos);
    }
  }
}

// A made task: same request, same bytes; another seed, another text; more samples keep the first
// ones; every sample of its own.
TEST(TaskRegistry, MadeTasksAreSeeded) {
  for (const TaskInfo* task : all_tasks()) {
    if (!task->needs_length) continue;
    const auto prompts = [&](std::size_t samples, std::uint64_t seed) {
      TaskRequest request = request_of({2048}, samples);
      request.seed = seed;
      std::vector<std::string> texts;
      for (const TaskSample& sample : samples_or_fail(task->name, request)) {
        texts.push_back(sample.prompt());
      }
      return texts;
    };
    const std::vector<std::string> three = prompts(3, 7);
    ASSERT_EQ(three.size(), 3U) << task->name;
    EXPECT_EQ(prompts(3, 7), three) << task->name;
    EXPECT_EQ(std::set<std::string>(three.begin(), three.end()).size(), 3U) << task->name;
    if (task->name.starts_with("needle/")) continue;  // its text is fixed
    EXPECT_NE(prompts(3, 8), three) << task->name;
    if (task->name.starts_with("ruler/")) {
      const std::vector<std::string> two = prompts(2, 7);
      EXPECT_TRUE(std::equal(two.begin(), two.end(), three.begin())) << task->name;
    }
  }
}

TEST(TaskRegistry, MissingFilesAreNamedWithOriginAndLicence) {
  for (const TaskInfo* task : all_tasks()) {
    TaskRequest request = request_of({4096}, 1, Material::kPublished);
    request.data_dir = "no_such_folder";
    const auto samples = make_samples(*task, request);
    if (samples.ok()) {
      EXPECT_TRUE(task->needs_length) << task->name;  // made without any file
      EXPECT_FALSE(task->name.starts_with("ruler/")) << task->name;
      continue;
    }
    EXPECT_EQ(samples.error().code, ErrorCode::kNotFound) << task->name;
    EXPECT_NE(samples.error().message.find("no_such_folder"), std::string::npos) << task->name;
    EXPECT_NE(samples.error().message.find("licence"), std::string::npos) << task->name;
  }
}

}  // namespace
}  // namespace restkv
