// MultiArith (Roy and Roth 2015): 600 word problems of several steps, all of them a test set;
// solved examples come from GSM8K's training file.

#include <cmath>
#include <utility>

#include "eval/json_file.h"
#include "eval/scorers/final_number_common.h"
#include "eval/tasks/arithmetic_common.h"

namespace restkv {
namespace {

constexpr DataFile kFile = {"multiarith/MultiArith.json",
                            "wangxr14/Algebraic-Word-Problem-Solver (data/MultiArith.json)",
                            "published without one"};

Result<WordProblem> read_problem(const JsonRecord& row) {
  WordProblem problem;
  RESTKV_ASSIGN(const std::string question, row.text("sQuestion"));
  RESTKV_ASSIGN(const std::vector<double> solutions, row.numbers("lSolutions"));
  const std::size_t first = question.find_first_not_of(' ');
  if (first == std::string::npos) return row.wrong_field("sQuestion", "text that is not blank");
  problem.question = question.substr(first, question.find_last_not_of(' ') - first + 1);
  if (solutions.empty() || !std::isfinite(solutions.front()) ||
      std::abs(solutions.front()) > 1e15) {
    return row.wrong_field("lSolutions", "a list of numbers that is not empty");
  }
  problem.answer = nlohmann::json(solutions.front()).dump();  // the shortest decimal
  if (problem.answer.ends_with(".0")) problem.answer.resize(problem.answer.size() - 2);
  if (!plain_decimal(problem.answer)) {  // 1e-9
    return row.wrong_field("lSolutions", "a list of numbers that are written without an exponent");
  }
  return problem;
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  RESTKV_ASSIGN(const std::string path, data_path(request, kFile));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  RESTKV_ASSIGN(const std::vector<JsonRecord> rows, JsonRecord(file, path).elements());
  std::vector<WordProblem> problems;
  for (const JsonRecord& row : rows) {
    RESTKV_ASSIGN(WordProblem problem, read_problem(row));
    problems.push_back(std::move(problem));
  }
  if (problems.empty()) return Error{ErrorCode::kCorrupt, path + ": holds no problem"};
  return word_problem_samples(task, request, length, problems, std::string(kFile.path));
}

constexpr TaskInfo info(std::string_view name, std::string_view summary) {
  return {.name = name,
          .category = kArithmeticCategory,
          .summary = summary,
          .metric = kArithmeticMetric,
          .max_new_tokens = 256,
          .samples = 600,
          .make = make};
}

constexpr TaskInfo kTasks[] = {
    info("multiarith/zero-shot", "word problems of several steps"),
    info("multiarith/few-shot", "word problems of several steps after 8 solved ones of GSM8K"),
    info("multiarith/many-shot",
         "word problems of several steps after 50 solved ones of GSM8K, or as many as fit"),
};

}  // namespace

extern const TaskFamily multiarith_tasks;
constinit const TaskFamily multiarith_tasks{.suite = "multiarith", .tasks = kTasks};

}  // namespace restkv
