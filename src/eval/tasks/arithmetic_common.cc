#include "eval/tasks/arithmetic_common.h"

#include <algorithm>
#include <utility>

#include "base/quote.h"
#include "eval/generate.h"
#include "eval/json_file.h"
#include "eval/scorers/final_number_common.h"

namespace restkv {
namespace {

constexpr std::string_view kOrigin = "openai/grade-school-math, folder grade_school_math/data";
constexpr std::size_t kFewShots = 8;
constexpr std::size_t kManyShots = 50;
constexpr std::size_t kMostShots = 7473;  // rows of the training file

constexpr std::string_view kTask =
    "Solve the problem. Work it out step by step and end with the sentence \"The answer is N.\", "
    "where N is a number in digits.\n\n";

// "48/2 = <<48/2=24>>24" -> "48/2 = 24". A mark that does not end is kept.
std::string without_marks(std::string_view text) {
  std::string out;
  for (;;) {
    const std::size_t begin = text.find("<<");
    const std::size_t end = begin == std::string_view::npos ? begin : text.find(">>", begin);
    if (end == std::string_view::npos) return out + std::string(text);
    out += text.substr(0, begin);
    text.remove_prefix(end + 2);
  }
}

Result<WordProblem> read_problem(const JsonRecord& row) {
  constexpr std::string_view kMark = "####";
  WordProblem problem;
  RESTKV_ASSIGN(problem.question, row.text("question"));
  RESTKV_ASSIGN(const std::string solution, row.text("answer"));
  const std::size_t mark = solution.rfind(kMark);
  if (mark == std::string::npos) return row.wrong_field("answer", "text with a line '#### N'");
  std::string steps = without_marks(std::string_view(solution).substr(0, mark));
  while (!steps.empty() && (steps.back() == '\n' || steps.back() == ' ')) steps.pop_back();
  problem.reasoning = std::move(steps);
  for (const char c : solution.substr(mark + kMark.size())) {
    if (c != ',' && c != ' ' && c != '\r' && c != '\n') problem.answer += c;
  }
  if (problem.answer.find_first_not_of("-.0123456789") != std::string::npos ||
      !plain_decimal(problem.answer)) {
    return row.wrong("field 'answer' must end in a number, not in " +
                     restkv::quoted(problem.answer));
  }
  return problem;
}

std::string asked(const WordProblem& problem) {
  return "Question: " + problem.question + "\nAnswer:";
}

std::string solved(const WordProblem& problem) {
  return asked(problem) + " " + problem.reasoning + " The answer is " + problem.answer + ".\n\n";
}

std::string context_of(const std::vector<WordProblem>& examples, std::size_t shots) {
  std::string context;
  if (shots != 0) context = kTask;
  for (std::size_t i = 0; i < shots; ++i) context += solved(examples[i]);
  return context;
}

TaskSample make_sample(const TaskInfo& task, const WordProblem& problem, std::string context) {
  TaskSample sample = blank_sample(task, 0);
  sample.question = (context.empty() ? std::string(kTask) : "") + asked(problem);
  sample.context = std::move(context);
  sample.answers = {problem.answer};
  sample.stops = {"\nQuestion:"};
  sample.wording = kOwnWording;
  return sample;
}

// As many examples as fit before the longest problem of all: the same for any number of samples.
Result<std::size_t> fitting_shots(const TaskInfo& task, const TaskRequest& request,
                                  std::size_t length, const std::vector<WordProblem>& problems,
                                  const std::vector<WordProblem>& examples) {
  const WordProblem* longest = &problems.front();
  for (const WordProblem& problem : problems) {
    if (request.tokenizer.count(problem.question) > request.tokenizer.count(longest->question)) {
      longest = &problem;
    }
  }
  const auto fits = [&](std::size_t shots) {
    TaskSample sample = make_sample(task, *longest, context_of(examples, shots));
    count_tokens(sample, request);
    // Another problem of as many tokens may join its neighbours in another way.
    return sample.tokens + 4 <= length;
  };
  const std::size_t shots = largest_that_fits(1, examples.size(), length / 150 + 1, fits);
  if (shots == 0) {
    return Error{ErrorCode::kInvalidArgument, std::string(task.name) +
                                                  ": not one example fits into " +
                                                  std::to_string(length) + " tokens"};
  }
  return shots;
}

}  // namespace

std::size_t shots_of(const TaskInfo& task) {
  if (task.name.ends_with("/many-shot")) return kManyShots;
  return task.name.ends_with("/few-shot") ? kFewShots : 0;
}

Result<std::vector<WordProblem>> load_gsm8k(const TaskRequest& request, std::string_view part,
                                            std::size_t most) {
  const std::string file = "gsm8k/" + std::string(part) + ".jsonl";
  RESTKV_ASSIGN(const std::string path,
                data_path(request, {.path = file, .origin = kOrigin, .licence = "MIT"}));
  std::vector<WordProblem> problems;
  RESTKV_TRY(for_each_json_line(path, [&](const JsonRecord& row) -> Result<Reading> {
    RESTKV_ASSIGN(WordProblem problem, read_problem(row));
    problems.push_back(std::move(problem));
    return problems.size() < most ? Reading::kGoOn : Reading::kStop;
  }));
  return problems;
}

Result<std::vector<TaskSample>> word_problem_samples(const TaskInfo& task,
                                                     const TaskRequest& request, std::size_t length,
                                                     const std::vector<WordProblem>& problems,
                                                     const std::string& source) {
  std::size_t shots = shots_of(task);
  std::vector<WordProblem> examples;
  if (shots != 0) {
    RESTKV_ASSIGN(examples, load_gsm8k(request, "train", length == 0 ? shots : kMostShots));
    if (examples.size() < shots && length == 0) {
      return Error{ErrorCode::kCorrupt, "gsm8k/train.jsonl holds " +
                                            std::to_string(examples.size()) + " problems, " +
                                            std::to_string(shots) + " are needed"};
    }
    if (length != 0) {
      RESTKV_ASSIGN(shots, fitting_shots(task, request, length, problems, examples));
    }
  }
  const std::string context = context_of(examples, shots);
  std::vector<TaskSample> samples;
  for (const WordProblem& problem : problems) {
    if (samples.size() == samples_of(task, request)) break;
    TaskSample sample = make_sample(task, problem, context);
    sample.length = length;
    sample.id = std::to_string(length) + "/" + std::to_string(samples.size());
    sample.source = source;
    if (shots != 0) sample.source += ", " + std::to_string(shots) + " of gsm8k/train.jsonl";
    count_tokens(sample, request);
    if (length != 0 && sample.tokens > length) {
      return Error{ErrorCode::kInvalidArgument,
                   std::string(task.name) + " does not fit into " + std::to_string(length) +
                       " tokens: sample " + sample.id + " has " + std::to_string(sample.tokens)};
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace restkv
