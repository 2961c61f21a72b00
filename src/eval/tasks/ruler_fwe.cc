// RULER's frequent words (arXiv 2404.06654, scripts/data/synthetic/freq_words_extraction.py):
// coded words whose counts follow a zeta distribution, the most frequent of them being mere dots.
// The number of words is searched by bisection, where RULER adds a 32nd at a time and steps back.

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

constexpr double kZetaOf2 = 1.6449340668482264;  // alpha = 2
constexpr std::size_t kLetters = 6;
constexpr std::size_t kAsked = 3;
constexpr std::size_t kLeastWords = 80;  // from here on ranks 4 and 5 differ in their counts
constexpr std::string_view kDots = "...";

constexpr std::string_view kHead =
    "The text below is made of coded words. Keep in mind how often each of them comes up.\n";
constexpr std::string_view kQuestion =
    "\nQuestion: Which three coded words come up most often in the text above? Do not count the "
    "dots '...' and explain nothing.\n";
constexpr std::string_view kPrefix =
    "Answer: The three coded words that come up most often in the text above are:";

TaskSample make_sample(Draws& draws, std::size_t vocabulary_size, std::size_t n) {
  std::vector<std::string> vocabulary = {std::string(kDots)};
  std::set<std::string> used;
  while (vocabulary.size() < vocabulary_size) {
    std::string word = draws.characters(kLetters, kLowerLetters);
    if (used.insert(word).second) vocabulary.push_back(std::move(word));
  }
  std::vector<std::string> text;
  for (std::size_t rank = 1; rank <= vocabulary.size(); ++rank) {
    const double share = 1.0 / (static_cast<double>(rank * rank) * kZetaOf2);
    text.insert(text.end(), static_cast<std::size_t>(static_cast<double>(n) * share),
                vocabulary[rank - 1]);
  }
  Draws(kFixedOrderSeed).shuffle(text);
  TaskSample sample;
  sample.context = std::string(kHead) + joined(text, " ");
  sample.question = kQuestion;
  sample.answer_prefix = kPrefix;
  sample.answers.assign(vocabulary.begin() + 1, vocabulary.begin() + 1 + kAsked);
  return sample;
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(task, request, length);
  }
  const std::size_t room = length - std::min(length, task.max_new_tokens);  // tokens
  const std::size_t vocabulary = std::max<std::size_t>(room / 50, 8);
  const Generator generator = {
      .step = std::max<std::size_t>(room / 32, 1),
      .least = kLeastWords,
      .source = "random letters",
      .make = [&](Draws& draws, std::size_t /*sample*/,
                  std::size_t n) { return make_sample(draws, vocabulary, n); },
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {{
    .name = "ruler/fwe",
    .category = "aggregation",
    .summary = "the three coded words that come up most often",
    .metric = "string_match_all",
    .max_new_tokens = 50,
    .samples = 500,
    .needs_length = true,
    .make = make,
}};

}  // namespace

extern const TaskFamily ruler_fwe_tasks;
constinit const TaskFamily ruler_fwe_tasks{.suite = "ruler", .tasks = kTasks};

}  // namespace restkv
