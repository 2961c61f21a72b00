// RULER's needles in a haystack (arXiv 2404.06654, scripts/data/synthetic/niah.py): each needle
// gives one value of one key; some keys are asked for.

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/check.h"
#include "eval/generate.h"
#include "eval/prose.h"
#include "eval/tasks/ruler_common.h"
#include "eval/words.h"

namespace restkv {
namespace {

enum class Haystack : std::uint8_t { kNoise, kEssay, kNeedles };
enum class Kind : std::uint8_t { kNumbers, kWords, kUuids };

struct NeedleTask {
  std::string_view name;
  Haystack haystack = Haystack::kNoise;
  Kind keys = Kind::kWords;
  Kind values = Kind::kNumbers;
  std::size_t n_keys = 1;    // raised to n_queries where that is more
  std::size_t n_values = 1;  // of each key
  std::size_t n_queries = 1;
};

// scripts/synthetic.yaml
constexpr std::array kNeedleTasks = {
    NeedleTask{.name = "ruler/niah_single_1"},
    NeedleTask{.name = "ruler/niah_single_2", .haystack = Haystack::kEssay},
    NeedleTask{.name = "ruler/niah_single_3", .haystack = Haystack::kEssay, .values = Kind::kUuids},
    NeedleTask{.name = "ruler/niah_multikey_1", .haystack = Haystack::kEssay, .n_keys = 4},
    NeedleTask{.name = "ruler/niah_multikey_2", .haystack = Haystack::kNeedles},
    NeedleTask{.name = "ruler/niah_multikey_3",
               .haystack = Haystack::kNeedles,
               .keys = Kind::kUuids,
               .values = Kind::kUuids},
    NeedleTask{.name = "ruler/niah_multivalue", .haystack = Haystack::kEssay, .n_values = 4},
    NeedleTask{.name = "ruler/niah_multiquery", .haystack = Haystack::kEssay, .n_queries = 4},
};

constexpr std::string_view kNeedle = "One of the secret {kind}s kept for {key} is {value}.";
constexpr std::string_view kHead =
    "The text below holds secret {kind}s. Keep the secret {kind}s in mind: you will be asked for "
    "them at the end.\n";
constexpr std::string_view kQuestion =
    "\nWhich secret {kind}s are kept for {query} in the text above? Give all of them.\n";
constexpr std::string_view kPrefix = "The secret {kind}s kept for {query} in the text above are";
constexpr std::string_view kHeadOfOne =
    "The text below holds a secret {kind}. Keep the secret {kind} in mind: you will be asked for "
    "it at the end.\n";
constexpr std::string_view kQuestionOfOne =
    "\nWhich secret {kind} is kept for {query} in the text above?\n";
constexpr std::string_view kPrefixOfOne = "The secret {kind} kept for {query} in the text above is";

constexpr std::size_t kDepths = 40;  // RULER's grid of places in an essay

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNumbers: return "number";
    case Kind::kWords: return "word";
    case Kind::kUuids: return "uuid";
  }
  return "";
}

// Keys and values that never repeat within a sample, whether real or decoys.
class Values {
 public:
  Values(const WordLists& words, Draws& draws) : words_(words), draws_(draws) {}

  std::string draw(Kind kind) {
    for (;;) {
      std::string value = once(kind);
      if (used_.insert(value).second) return value;
    }
  }

 private:
  std::string once(Kind kind) {
    switch (kind) {
      case Kind::kNumbers: return std::to_string(draws_.between(1'000'000, 9'999'999));
      case Kind::kWords: return draw_word_key(words_, draws_);
      case Kind::kUuids: return draws_.uuid();
    }
    return "";
  }
  const WordLists& words_;
  Draws& draws_;
  std::set<std::string> used_;
};

std::string needle(const NeedleTask& task, std::string_view key, std::string_view value) {
  return filled(kNeedle, {{"{kind}", kind_name(task.values)}, {"{key}", key}, {"{value}", value}});
}

// Between sentences, at different depths of the grid, in the order of the list.
std::string hide_in_essay(const std::string& essay, std::vector<std::string> needles,
                          Draws& draws) {
  const std::vector<std::size_t> ends = sentence_ends(essay);
  std::vector<std::size_t> places = draws.distinct(needles.size(), kDepths);
  std::ranges::sort(places);
  std::string text;
  std::size_t done = 0;
  const auto append_sentences = [&](std::size_t end) {
    if (end == done) return;
    // A run of sentences begins with the blank behind the one before; the first has none.
    if (done == 0 && !text.empty()) text += ' ';
    text += essay.substr(done, end - done);
    done = end;
  };
  for (std::size_t i = 0; i < needles.size(); ++i) {
    const std::size_t depth = (places[i] * 200 + kDepths - 1) / (2 * (kDepths - 1));  // rounded
    const std::size_t sentences = ends.size() * depth / 100;
    append_sentences(sentences == 0 ? 0 : ends[sentences - 1]);
    if (!text.empty()) text += ' ';
    text += needles[i];
  }
  append_sentences(essay.size());
  return text;
}

std::string query_text(const std::vector<std::string>& keys) {
  if (keys.size() == 1) return keys.front();
  const std::vector<std::string> front(keys.begin(), keys.end() - 1);
  return joined(front, ", ") + ", and " + keys.back();
}

struct Texts {
  WordLists words;
  Prose prose;
};

TaskSample make_sample(const NeedleTask& task, const Texts& texts, Draws& draws,
                       std::size_t units) {
  Values values(texts.words, draws);
  const std::size_t n_keys = std::max(task.n_keys, task.n_queries);
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> values_of(n_keys);
  std::vector<std::string> needles;
  for (std::size_t k = 0; k < n_keys; ++k) {
    keys.push_back(values.draw(task.keys));
    for (std::size_t v = 0; v < task.n_values; ++v) {
      values_of[k].push_back(values.draw(task.values));
      needles.push_back(needle(task, keys[k], values_of[k].back()));
    }
  }
  Draws(kFixedOrderSeed).shuffle(needles);
  std::string haystack;
  if (task.haystack == Haystack::kEssay) {
    haystack = hide_in_essay(texts.prose.first(units), std::move(needles), draws);
  } else {
    std::vector<std::string> lines(units, std::string(kNoiseLine));
    if (task.haystack == Haystack::kNeedles) {
      for (std::string& line : lines) {
        const std::string key = values.draw(task.keys);
        line = needle(task, key, values.draw(task.values));
      }
    }
    haystack = joined(hide_lines(std::move(lines), std::move(needles), draws), "\n");
  }
  // The permutation above is the same for every sample: which needles are asked for, and in which
  // order, must be drawn.
  TaskSample sample;
  std::vector<std::string> asked;
  for (const std::size_t k : draws.distinct(task.n_queries, n_keys)) {
    asked.push_back(keys[k]);
    sample.answers.insert(sample.answers.end(), values_of[k].begin(), values_of[k].end());
  }
  const bool one = task.n_queries * task.n_values == 1;
  const std::string_view kind = kind_name(task.values);
  const std::string query = query_text(asked);
  const auto fill = [&](std::string_view text) {
    return filled(text, {{"{kind}", kind}, {"{query}", query}});
  };
  sample.context = fill(one ? kHeadOfOne : kHead) + haystack;
  sample.question = fill(one ? kQuestionOfOne : kQuestion);
  sample.answer_prefix = fill(one ? kPrefixOfOne : kPrefix);
  return sample;
}

// Word keys are drawn until one is new: there must be many more than a sample takes.
Result<void> check_enough_words(const NeedleTask& task, const WordLists& words,
                                std::size_t length) {
  constexpr std::size_t kNeedleTokens = 8;  // at least
  constexpr std::size_t kSpare = 4;
  const std::size_t keys = task.haystack == Haystack::kNeedles ? length / kNeedleTokens : 4;
  const std::size_t pairs = words.adjectives.size() * words.nouns.size();
  if (task.keys != Kind::kWords || pairs >= kSpare * keys) return {};
  return Error{ErrorCode::kCorrupt,
               "ruler/adjectivelist.txt and ruler/nounlist.txt hold too few "
               "words for " +
                   std::to_string(keys) + " keys"};
}

Result<std::vector<TaskSample>> make(const TaskInfo& info, const TaskRequest& request,
                                     std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(info, request, length);
  }
  const auto* const task = std::ranges::find(kNeedleTasks, info.name, &NeedleTask::name);
  RESTKV_CHECK(task != kNeedleTasks.end());
  Texts texts;
  RESTKV_ASSIGN(texts.words, load_word_lists(request));
  RESTKV_TRY(check_enough_words(*task, texts.words, length));
  const bool essay = task->haystack == Haystack::kEssay;
  if (essay) {
    RESTKV_ASSIGN(texts.prose, load_prose(request));
  }
  const Generator generator = {
      .step = essay ? 500 : step_at(length, 25, 5),
      .least = std::size_t{essay ? 40U : 1U},
      .source = essay ? texts.words.source + ", " + texts.prose.source : texts.words.source,
      .make = [&](Draws& draws, std::size_t /*sample*/,
                  std::size_t units) { return make_sample(*task, texts, draws, units); },
  };
  return generate_samples(info, request, length, generator);
}

constexpr TaskInfo needle_info(std::string_view name, std::string_view summary) {
  return {.name = name,
          .category = "retrieval",
          .summary = summary,
          .metric = "string_match_all",
          .max_new_tokens = 128,
          .samples = 500,
          .needs_length = true,
          .make = make};
}

constexpr TaskInfo kTasks[] = {
    needle_info("ruler/niah_single_1", "one number in lines that say nothing"),
    needle_info("ruler/niah_single_2", "one number in running text"),
    needle_info("ruler/niah_single_3", "one uuid in running text"),
    needle_info("ruler/niah_multikey_1", "one number of four in running text"),
    needle_info("ruler/niah_multikey_2", "one number among lines of the same kind"),
    needle_info("ruler/niah_multikey_3", "one uuid by its uuid among lines of the same kind"),
    needle_info("ruler/niah_multivalue", "four numbers of one key in running text"),
    needle_info("ruler/niah_multiquery", "the numbers of four keys in running text"),
};

}  // namespace

extern const TaskFamily ruler_niah_tasks;
constinit const TaskFamily ruler_niah_tasks{.suite = "ruler", .tasks = kTasks};

}  // namespace restkv
