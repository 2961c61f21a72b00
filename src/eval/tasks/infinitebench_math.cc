// InfiniteBench's Math.Find and Math.Calc (arXiv 2402.13718, section 3): made here at any length,
// or read from the published files.

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/infinitebench_common.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

constexpr std::array<std::string_view, 7> kQueries = {
    "largest number",  "second largest number",  "third largest number",
    "smallest number", "second smallest number", "third smallest number",
    "median"};
constexpr std::size_t kMedian = 6;
constexpr std::size_t kRanks = 3;  // asked for at either end

constexpr std::string_view kFindHead =
    "What is the {query} of the list below? Equal numbers share a rank.\n\n";
constexpr std::string_view kFindQuestion =
    "\n\nWhat is the {query} of the list above? Equal numbers share a rank.\n";
constexpr std::string_view kFindPrefix = "The {query} of the list is";

std::string list_text(const std::vector<int>& numbers) {
  std::vector<std::string> texts;
  for (const int number : numbers) texts.push_back(std::to_string(number));
  return "[" + joined(texts, ", ") + "]";
}

// An odd list has a whole median; an even one the mean of the two in the middle, with a decimal.
std::string median(std::vector<int> numbers) {
  std::ranges::sort(numbers);
  const std::size_t half = numbers.size() / 2;
  if (numbers.size() % 2 == 1) return std::to_string(numbers[half]);
  const int twice = numbers[half - 1] + numbers[half];
  return std::to_string(twice / 2) + (twice % 2 == 0 ? ".0" : ".5");
}

std::string answer_of(std::size_t query, const std::vector<int>& numbers) {
  if (query == kMedian) return median(numbers);
  const std::set<int> unique(numbers.begin(), numbers.end());
  const std::vector<int> ranked(unique.begin(), unique.end());
  const std::size_t rank = query % kRanks;
  return std::to_string(query < kRanks ? ranked[ranked.size() - 1 - rank] : ranked[rank]);
}

TaskSample find_sample(Draws& draws, std::size_t index, std::size_t count) {
  const std::size_t query = index % kQueries.size();
  // Where the list ends is no matter of course: else every answer would be the same.
  const long long high = query < kRanks ? draws.between(79, 99) : 99;
  const long long low = query >= kRanks && query != kMedian ? draws.between(0, 19) : 0;
  if (query == kMedian && draws.coin()) --count;
  std::vector<int> numbers;
  do {
    numbers.clear();
    for (std::size_t i = 0; i < count; ++i) {
      numbers.push_back(static_cast<int>(draws.between(low, high)));
    }
  } while (std::set<int>(numbers.begin(), numbers.end()).size() < kRanks);
  const auto fill = [&](std::string_view text) {
    return filled(text, {{"{query}", kQueries[query]}});
  };
  TaskSample sample;
  sample.context = fill(kFindHead) + list_text(numbers);
  sample.question = fill(kFindQuestion);
  sample.answer_prefix = fill(kFindPrefix);
  sample.answers = {answer_of(query, numbers)};
  return sample;
}

Result<std::vector<TaskSample>> make_find(const TaskInfo& task, const TaskRequest& request,
                                          std::size_t length) {
  if (request.material == Material::kPublished) {
    // The input asks the question and ends in an answer cue of its own.
    return published_infinitebench_samples(task, request, length,
                                           [](const InfiniteBenchRow& row) -> Result<TaskSample> {
                                             TaskSample sample;
                                             sample.context = row.context;
                                             sample.question = "\n\n" + row.input;
                                             return sample;
                                           });
  }
  const Generator generator = {
      .step = 50,
      .least = 20,
      .source = std::string(kMadeSource),
      .make = find_sample,
  };
  return generate_samples(task, request, length, generator);
}

constexpr std::string_view kCalcHead =
    "Work out the sum below from left to right and write down the value after every step.\n"
    "For example, 1 + 2 - 1 + 4 gives [3, 2, 6], and 8 - 5 - 3 + 9 gives [3, 0, 9].\n\n";
constexpr std::string_view kCalcQuestion = "\n\nWhich values come up after each step?\n";
constexpr std::string_view kCalcPrefix = "[";
constexpr std::size_t kTokensPerValue = 4;  // two digits, comma, blank

// Every value on the way lies in [0, 99].
TaskSample calc_sample(Draws& draws, std::size_t operands) {
  long long value = draws.between(0, 99);
  TaskSample sample;
  std::string sum = std::to_string(value);
  for (std::size_t i = 1; i < operands; ++i) {
    const bool add = value == 0 || (value < 99 && draws.coin());
    const long long operand = draws.between(1, add ? 99 - value : value);
    value += add ? operand : -operand;
    sum += (add ? " + " : " - ") + std::to_string(operand);
    sample.answers.push_back(std::to_string(value));
  }
  sample.context = std::string(kCalcHead) + sum;
  sample.question = kCalcQuestion;
  sample.answer_prefix = kCalcPrefix;
  sample.max_new_tokens = kTokensPerValue * operands;
  return sample;
}

Result<std::vector<TaskSample>> make_calc(const TaskInfo& task, const TaskRequest& request,
                                          std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_infinitebench_samples(task, request, length,
                                           [](const InfiniteBenchRow& row) -> Result<TaskSample> {
                                             TaskSample sample;
                                             sample.context = std::string(kCalcHead) + row.context;
                                             sample.question = kCalcQuestion;
                                             sample.answer_prefix = kCalcPrefix;
                                             return sample;
                                           });
  }
  const Generator generator = {
      .step = 50,
      .least = 3,
      .source = std::string(kMadeSource),
      .make = [](Draws& draws, std::size_t /*sample*/,
                 std::size_t operands) { return calc_sample(draws, operands); },
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {
    {
        .name = "infinitebench/math_find",
        .category = "mathematics",
        .summary = "an extreme or the median of a list",
        .metric = "math_find",
        // Published runs stop after 3, which cuts a decimal where each digit is a token.
        .max_new_tokens = 8,
        .samples = 350,
        .needs_length = true,
        .length_optional_if_published = true,
        .make = make_find,
    },
    {
        .name = "infinitebench/math_calc",
        .category = "mathematics",
        .summary = "every value on the way through a long sum",
        .metric = "math_calc",
        .max_new_tokens = 30000,
        .samples = 50,
        .in_suite = false,
        .needs_length = true,
        .length_optional_if_published = true,
        .make = make_calc,
    },
};

}  // namespace

extern const TaskFamily infinitebench_math_tasks;
constinit const TaskFamily infinitebench_math_tasks{.suite = "infinitebench", .tasks = kTasks};

}  // namespace restkv
