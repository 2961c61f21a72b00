#pragma once

// What the tasks of InfiniteBench (arXiv 2402.13718) share: rows of the published files and how
// prompts are put together. All wordings are ours; only the files' texts are official.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

inline constexpr std::string_view kMadeSource = "made here";

// A line of a published file.
struct InfiniteBenchRow {
  std::string context;               // `context`, or `content` in older files
  std::string input;                 // may be empty
  std::vector<std::string> answers;  // a scalar or a list in the file; numbers as decimals
  std::vector<std::string> options;  // four, or none
};

// Fills context, question and answer_prefix from a row, and may change the answers.
using RowPrompt = std::function<Result<TaskSample>(const InfiniteBenchRow& row)>;

// infinitebench/<task>.jsonl, cut in the middle to the length.
Result<std::vector<TaskSample>> published_infinitebench_samples(const TaskInfo& task,
                                                                const TaskRequest& request,
                                                                std::size_t length,
                                                                const RowPrompt& prompt);

}  // namespace restkv
