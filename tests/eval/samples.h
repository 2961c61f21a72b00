#pragma once

// What tests of tasks ask for, and the folder of the benchmarks' files where it is there.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "eval/task.h"
#include "eval/word_tokenizer.h"

namespace restkv {

inline std::string shared_data() { return std::string(RESTKV_SHARED_DIR) + "/data"; }
inline bool has_shared_data() { return std::filesystem::is_directory(shared_data()); }
#define RESTKV_NEEDS_DATA() \
  if (!has_shared_data()) GTEST_SKIP() << "no folder " << shared_data()

inline TaskRequest request_of(std::vector<std::size_t> lengths, std::size_t samples,
                              Material material = Material::kOwn) {
  TaskRequest request;
  if (material != Material::kOwn) request.data_dir = shared_data();
  request.material = material;
  request.samples = samples;
  request.lengths = std::move(lengths);
  request.template_tokens = 20;
  request.tokenizer = word_tokenizer();
  return request;
}

// Fails the test and gives nothing when the task does not make them.
inline std::vector<TaskSample> samples_or_fail(std::string_view name, const TaskRequest& request) {
  const TaskInfo* task = find_task(name);
  if (task == nullptr) {
    ADD_FAILURE() << "no task " << name;
    return {};
  }
  Result<std::vector<TaskSample>> samples = make_samples(*task, request);
  if (!samples) {
    ADD_FAILURE() << name << ": " << samples.error().message;
    return {};
  }
  return std::move(samples).value();
}

}  // namespace restkv
