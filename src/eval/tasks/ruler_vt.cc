// RULER's variable tracking (arXiv 2404.06654, scripts/data/synthetic/variable_tracking.py): a
// chain of assignments hidden in noise, and the question which variables hold its value. A solved
// example with short names stands in front.

#include <algorithm>
#include <set>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

constexpr std::size_t kHops = 4;
constexpr std::size_t kNameLetters = 5;
constexpr std::size_t kExampleNameLetters = 3;
constexpr std::size_t kExampleTokens = 500;

constexpr std::string_view kHead =
    "Follow the chain of assignments to variables that is hidden in the text below.\n\n";
constexpr std::string_view kQuestion =
    "\nQuestion: Which variables hold the value {value} in the text above? Name all of them.\n";
constexpr std::string_view kPrefix =
    "Answer: By the chain of assignments in the text above, {count} variables hold the value "
    "{value}, they are: ";

// VAR names and the places of their lines come from streams of their own: the example keeps its
// places and changes its names from sample to sample.
struct ChainDraws {
  Draws& names;
  Draws& places;
};

TaskSample chain_sample(ChainDraws draws, std::size_t letters, std::size_t lines) {
  std::vector<std::string> names;
  std::set<std::string> used;
  while (names.size() < kHops + 1) {
    std::string name = draws.names.characters(letters, kUpperLetters);
    if (used.insert(name).second) names.push_back(std::move(name));
  }
  const std::string value = std::to_string(draws.names.between(10'000, 99'998));
  std::vector<std::size_t> places = draws.places.distinct(std::min(kHops + 1, lines), lines);
  while (places.size() < kHops + 1) places.push_back(lines - 1);
  std::ranges::sort(places);
  std::vector<std::string> text(lines, std::string(kNoiseLine));
  for (std::size_t j = 0; j <= kHops; ++j) {
    const std::string statement = j == 0 ? "VAR " + names[0] + " = " + value
                                         : "VAR " + names[j] + " = VAR " + names[j - 1] + " ";
    text.insert(text.begin() + static_cast<std::ptrdiff_t>(places[j] + j), statement);
  }
  const std::string count = std::to_string(names.size());
  TaskSample sample;
  sample.context = std::string(kHead) + joined(text, "\n");
  sample.question = filled(kQuestion, {{"{value}", value}});
  sample.answer_prefix = filled(kPrefix, {{"{value}", value}, {"{count}", count}});
  sample.answers = std::move(names);
  return sample;
}

std::string solved(const TaskSample& sample) {
  return sample.prompt() + joined(sample.answers, " ") + "\n\n";
}

std::string example(Draws& names, std::size_t lines) {
  Draws places(kFixedOrderSeed);
  return solved(chain_sample({names, places}, kExampleNameLetters, lines));
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(task, request, length);
  }
  // The example has 500 tokens; in short prompts no more than an eighth.
  const std::size_t example_tokens = std::min(kExampleTokens, length / 8);
  const std::size_t example_lines = std::max<std::size_t>(
      1, largest_that_fits(1, kExampleTokens, 5, [&](std::size_t lines) {
        Draws names(kFixedOrderSeed);
        return request.tokenizer.count(example(names, lines)) <= example_tokens;
      }));
  const Generator generator = {
      .step = step_at(length, 10, 5),
      .least = 1,
      .source = "own lines",
      .make =
          [&](Draws& draws, std::size_t /*sample*/, std::size_t lines) {
            std::string shown = example(draws, example_lines);
            TaskSample sample = chain_sample({draws, draws}, kNameLetters, lines);
            sample.context = shown + sample.context;
            return sample;
          },
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {{
    .name = "ruler/vt",
    .category = "tracking",
    .summary = "all variables of a chain of assignments",
    .metric = "string_match_all",
    .max_new_tokens = 30,
    .samples = 500,
    .needs_length = true,
    .make = make,
}};

}  // namespace

extern const TaskFamily ruler_vt_tasks;
constinit const TaskFamily ruler_vt_tasks{.suite = "ruler", .tasks = kTasks};

}  // namespace restkv
