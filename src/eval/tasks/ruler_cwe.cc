// RULER's common words (arXiv 2404.06654, scripts/data/synthetic/common_words_extraction.py): ten
// words come up often in a numbered list, the others seldom. A solved example stands in front.

#include <algorithm>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/ruler_common.h"
#include "eval/words.h"

namespace restkv {
namespace {

constexpr std::size_t kCommon = 10;  // words asked for
constexpr std::size_t kShortLength = 4096;
// From here on invented words come in only where the real ones are too few for the sample. Shorter
// samples go on to draw from both where a list of words is short: their prompts are in use.
constexpr std::size_t kLongLength = 48'000;

// How often each word comes up.
struct Counts {
  std::size_t common = 0;
  std::size_t uncommon = 0;
};

constexpr std::string_view kHead =
    "Below is a numbered list of words. Some of the words come up more often than the others. Keep "
    "in mind which come up most often.\n";
constexpr std::string_view kQuestion =
    "\nQuestion: Which 10 words come up most often in the list above?\n";
constexpr std::string_view kPrefix =
    "Answer: The 10 words that come up most often in the list above are:";

std::string numbered(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i != 0) text += ' ';
    text += std::to_string(i + 1) + ". " + words[i];
  }
  return text;
}

// words: the ten common ones first.
TaskSample list_sample(const std::vector<std::string>& words, const Counts& counts) {
  std::vector<std::string> list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    list.insert(list.end(), i < kCommon ? counts.common : counts.uncommon, words[i]);
  }
  Draws(kFixedOrderSeed).shuffle(list);
  TaskSample sample;
  sample.context = std::string(kHead) + numbered(list);
  sample.question = kQuestion;
  sample.answer_prefix = kPrefix;
  sample.answers.assign(words.begin(), words.begin() + kCommon);
  return sample;
}

// From the first `real` words when these are enough.
std::vector<std::string> draw_words(const std::vector<std::string>& vocabulary, std::size_t real,
                                    std::size_t count, Draws& draws) {
  std::vector<std::string> words;
  for (const std::size_t i : draws.distinct(count, count <= real ? real : vocabulary.size())) {
    words.push_back(vocabulary[i]);
  }
  return words;
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(task, request, length);
  }
  RESTKV_ASSIGN(const WordLists lists, load_word_lists(request));
  const bool brief = length < kShortLength;
  // A word that comes up three times in a numbered list takes more than six tokens.
  const std::vector<std::string> vocabulary = vocabulary_of(lists, length / (brief ? 2 : 6) + 64);
  const std::size_t real = length < kLongLength ? 0 : vocabulary_of(lists, 0).size();
  const Counts counts = brief ? Counts{6, 1} : Counts{30, 3};
  const Counts example_counts = brief ? Counts{3, 1} : Counts{10, 3};
  const std::size_t example_words = brief ? 20 : 40;
  const Generator generator = {
      .step = 10,
      .least = kCommon + 1,
      .most = vocabulary.size(),
      .source = lists.source,
      .make =
          [&](Draws& draws, std::size_t /*sample*/, std::size_t units) {
            const TaskSample shown =
                list_sample(draw_words(vocabulary, real, example_words, draws), example_counts);
            TaskSample sample = list_sample(draw_words(vocabulary, real, units, draws), counts);
            sample.context =
                shown.prompt() + " " + numbered(shown.answers) + "\n\n" + sample.context;
            return sample;
          },
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {{
    .name = "ruler/cwe",
    .category = "aggregation",
    .summary = "the ten words that come up most often in a list",
    .metric = "string_match_all",
    .max_new_tokens = 120,
    .samples = 500,
    .needs_length = true,
    .make = make,
}};

}  // namespace

extern const TaskFamily ruler_cwe_tasks;
constinit const TaskFamily ruler_cwe_tasks{.suite = "ruler", .tasks = kTasks};

}  // namespace restkv
