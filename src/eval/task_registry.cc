#include <algorithm>

#include "base/check.h"
#include "base/quote.h"
#include "eval/task.h"

namespace restkv {
namespace {

std::string_view short_name(const TaskInfo& task) {
  return task.name.substr(task.name.find('/') + 1);
}

// Tasks of a suite; `every` also counts those that its plain name leaves out.
enum class Members : std::uint8_t { kDefault, kEvery };
std::vector<const TaskInfo*> suite_tasks(std::string_view suite, Members members) {
  std::vector<const TaskInfo*> found;
  for (const TaskFamily* family : all_task_families()) {
    if (family->suite != suite) continue;
    for (const TaskInfo& task : family->tasks) {
      if (members == Members::kEvery || task.in_suite) found.push_back(&task);
    }
  }
  return found;
}

// Letters of `name` that `other` begins with or contains, as a rough likeness: enough for a hint.
bool alike(std::string_view name, std::string_view other) {
  const std::string_view stem = name.substr(0, std::min<std::size_t>(4, name.size()));
  return !stem.empty() && other.find(stem) != std::string_view::npos;
}

Error unknown(std::string_view name) {
  std::vector<std::string_view> suites;
  for (const TaskFamily* family : all_task_families()) {
    if (std::ranges::find(suites, family->suite) == suites.end()) suites.push_back(family->suite);
  }
  std::string message = "there is no task " + quoted(name) + "; suites:";
  for (const std::string_view suite : suites) message += " " + std::string(suite);
  const std::string_view wanted = name.substr(name.find('/') + 1);
  std::string near;
  for (const TaskInfo* task : all_tasks()) {
    if (alike(wanted, short_name(*task))) near += " " + std::string(task->name);
  }
  if (!near.empty()) message += "; tasks like it:" + near;
  return {ErrorCode::kInvalidArgument, message};
}

}  // namespace

std::vector<const TaskInfo*> all_tasks() {
  std::vector<const TaskInfo*> tasks;
  for (const TaskFamily* family : all_task_families()) {
    for (const TaskInfo& task : family->tasks) tasks.push_back(&task);
  }
  return tasks;
}

const TaskInfo* find_task(std::string_view name) {
  const TaskInfo* found = nullptr;
  for (const TaskInfo* task : all_tasks()) {
    if (task->name == name) return task;
    if (short_name(*task) != name) continue;
    if (found != nullptr) return nullptr;  // two suites have it
    found = task;
  }
  return found;
}

Result<std::vector<const TaskInfo*>> select_tasks(std::span<const std::string> names) {
  constexpr std::string_view kAll = "/all";
  std::vector<const TaskInfo*> selected;
  for (const std::string& name : names) {
    std::vector<const TaskInfo*> meant = suite_tasks(name, Members::kDefault);
    if (meant.empty() && name.ends_with(kAll)) {
      meant =
          suite_tasks(std::string_view(name).substr(0, name.size() - kAll.size()), Members::kEvery);
    }
    if (meant.empty()) {
      const TaskInfo* task = find_task(name);
      if (task == nullptr) return unknown(name);
      meant.push_back(task);
    }
    for (const TaskInfo* task : meant) {
      if (std::ranges::find(selected, task) == selected.end()) selected.push_back(task);
    }
  }
  return selected;
}

Result<std::vector<TaskSample>> make_samples(const TaskInfo& task, const TaskRequest& request) {
  RESTKV_CHECK(request.tokenizer.tokenize && request.tokenizer.detokenize);
  std::vector<std::size_t> lengths = request.lengths;
  if (lengths.empty()) {
    if (task.needs_length &&
        !(task.length_optional_if_published && request.material == Material::kPublished)) {
      return Error{ErrorCode::kInvalidArgument,
                   std::string(task.name) + " is made at a length: give one or more, in tokens"};
    }
    lengths.push_back(0);
  }
  std::vector<TaskSample> samples;
  for (const std::size_t length : lengths) {
    RESTKV_ASSIGN(std::vector<TaskSample> made, task.make(task, request, length));
    for (TaskSample& sample : made) {
      RESTKV_CHECK(!sample.answers.empty());
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

}  // namespace restkv
