#pragma once

// What the word problems of GSM8K and MultiArith share: solved examples from GSM8K's training file,
// in front of the question.

#include <cstddef>
#include <string>
#include <vector>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

struct WordProblem {
  std::string question;
  std::string reasoning;  // worked lines without calculator marks; empty where none is published
  std::string answer;     // a number without thousands commas: "-1250", "18", "2.5"
};

inline constexpr std::string_view kArithmeticCategory = "arithmetic";
inline constexpr std::string_view kArithmeticMetric = "number";

// gsm8k/<part>.jsonl, at most `most` problems.
Result<std::vector<WordProblem>> load_gsm8k(const TaskRequest& request, std::string_view part,
                                            std::size_t most);

// One sample for each of the first problems, as many as the request wants. The examples are the
// first of gsm8k/train.jsonl: the number that the task's name stands for, or with a length as many
// of them as fit for the longest problem of all, so that all prompts have the same beginning.
// Zero-shot prompts ask for the steps and the closing phrase that the examples show.
Result<std::vector<TaskSample>> word_problem_samples(const TaskInfo& task,
                                                     const TaskRequest& request, std::size_t length,
                                                     const std::vector<WordProblem>& problems,
                                                     const std::string& source);

// Examples of "<suite>/zero-shot", "/few-shot" and "/many-shot": 0, 8 and 50.
std::size_t shots_of(const TaskInfo& task);

}  // namespace restkv
