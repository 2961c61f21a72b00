// InfiniteBench's Code.Run (arXiv 2402.13718, section 3): what does a call return whose functions
// call each other over several levels? Made here at any length, or read from the published file.

#include <array>
#include <regex>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/infinitebench_common.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

constexpr std::array<std::size_t, 5> kLevels = {2, 4, 6, 8, 10};
constexpr std::size_t kMostLevels = 10;

constexpr std::string_view kHead = "Find the value that the call {call} returns.\n\n";
constexpr std::string_view kQuestion =
    "\n\nWhat does the call {call} return? Give the number alone.\n";
constexpr std::string_view kPrefix = "The call {call} returns";

TaskSample ask(const std::string& call, const std::string& code) {
  const auto fill = [&](std::string_view text) { return filled(text, {{"{call}", call}}); };
  TaskSample sample;
  sample.context = fill(kHead) + code;
  sample.question = fill(kQuestion);
  sample.answer_prefix = fill(kPrefix);
  return sample;
}

struct Function {
  std::size_t calls = 0;  // number of a function of the next level; unused in the last
  long long adds = 0;
};

// Function i belongs to level i % levels; its name is another number.
TaskSample make_sample(Draws& draws, std::size_t index, std::size_t count) {
  const std::size_t levels = kLevels[index % kLevels.size()];
  const auto last = [&](std::size_t i) { return i % levels == levels - 1; };
  std::vector<Function> functions(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t level = i % levels;
    functions[i].adds = draws.between(-12, 17);
    // Numbers level + 1, level + 1 + levels, ... are the next level.
    if (!last(i))
      functions[i].calls = level + 1 + levels * draws.below((count - level - 2) / levels + 1);
  }
  const std::vector<std::size_t> names = draws.distinct(count, count);
  const auto name = [&](std::size_t i) { return "func_" + std::to_string(names[i]); };
  std::string code;
  for (const std::size_t i : draws.distinct(count, count)) {
    const long long adds = functions[i].adds;
    code += "def " + name(i) + "(x):\n    return " +
            (last(i) ? "x" : name(functions[i].calls) + "(x)") + (adds < 0 ? " - " : " + ") +
            std::to_string(adds < 0 ? -adds : adds) + "\n\n";
  }
  const std::size_t first = levels * draws.below((count - 1) / levels + 1);
  const long long x = draws.between(-10, 10);
  long long value = x;
  for (std::size_t i = first;; i = functions[i].calls) {
    value += functions[i].adds;
    if (last(i)) break;
  }
  TaskSample sample = ask(name(first) + "(" + std::to_string(x) + ")", code);
  sample.answers = {std::to_string(value)};
  return sample;
}

Result<TaskSample> row_prompt(const InfiniteBenchRow& row) {
  static const std::regex kCall("func_[0-9]+\\(-?[0-9]+\\)");
  std::smatch call;
  if (row.input.size() > 10'000 || !std::regex_search(row.input, call, kCall)) {
    return Error{ErrorCode::kCorrupt, "field 'input' holds no call like func_1(2)"};
  }
  return ask(call.str(), row.context);
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_infinitebench_samples(task, request, length, row_prompt);
  }
  const Generator generator = {
      .step = 10,
      .least = kMostLevels,
      .source = std::string(kMadeSource),
      .make = make_sample,
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {{
    .name = "infinitebench/code_run",
    .category = "code",
    .summary = "the value of a call through many small functions",
    .metric = "last_integer",
    .max_new_tokens = 5,
    .samples = 400,
    .needs_length = true,
    .length_optional_if_published = true,
    .make = make,
}};

}  // namespace

extern const TaskFamily infinitebench_code_tasks;
constinit const TaskFamily infinitebench_code_tasks{.suite = "infinitebench", .tasks = kTasks};

}  // namespace restkv
