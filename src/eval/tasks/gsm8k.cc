// GSM8K (arXiv 2110.14168): grade-school word problems, worked out step by step, with no, 8 or 50
// solved examples. The wording is ours.

#include <limits>

#include "eval/tasks/arithmetic_common.h"

namespace restkv {
namespace {

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  RESTKV_ASSIGN(const std::vector<WordProblem> problems,
                load_gsm8k(request, "test", std::numeric_limits<std::size_t>::max()));
  return word_problem_samples(task, request, length, problems, "gsm8k/test.jsonl");
}

constexpr TaskInfo info(std::string_view name, std::string_view summary) {
  return {.name = name,
          .category = kArithmeticCategory,
          .summary = summary,
          .metric = kArithmeticMetric,
          .max_new_tokens = 512,
          .samples = 1319,
          .make = make};
}

constexpr TaskInfo kTasks[] = {
    info("gsm8k/zero-shot", "word problems, step by step"),
    info("gsm8k/few-shot", "word problems after 8 solved ones"),
    info("gsm8k/many-shot", "word problems after 50 solved ones, or as many as fit"),
};

}  // namespace

extern const TaskFamily gsm8k_tasks;
constinit const TaskFamily gsm8k_tasks{.suite = "gsm8k", .tasks = kTasks};

}  // namespace restkv
