// InfiniteBench's Retrieve.PassKey, Retrieve.Number and Retrieve.KV (arXiv 2402.13718, section 3):
// made here at any length, or read from the published files. Answers may have as many tokens as in
// ReST-KV's runs.

#include <algorithm>
#include <set>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/infinitebench_common.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

constexpr std::size_t kPositions = 59;  // of a key in the text, evenly spread
constexpr std::size_t kKeyDigits = 5;
constexpr std::size_t kRepeats = 5;  // digits of a number string that repeat their neighbour

struct HiddenKey {
  std::string_view name;  // what the key is called
  std::string_view question;
  std::string_view prefix;
};
constexpr HiddenKey kPassKey = {"pass key", "\nWhat is the pass key?\n", "The pass key is"};
constexpr HiddenKey kNumber = {"sequence of digits", "\nWhat is the sequence of digits?\n",
                               "The sequence of digits is"};
constexpr std::string_view kHead =
    "One important fact is hidden in the text below. Find it and keep it in mind: you will be "
    "asked "
    "for it.\n\n";
constexpr std::string_view kFact = "The {name} is {key}. Keep it in mind: {key} is the {name}.";

TaskSample hidden_key_sample(const HiddenKey& hidden, const std::string& key, std::size_t position,
                             std::size_t lines) {
  std::vector<std::string> text(lines, std::string(kNoiseLine));
  const std::size_t place = lines * position / (kPositions - 1);
  text.insert(text.begin() + static_cast<std::ptrdiff_t>(place),
              filled(kFact, {{"{name}", hidden.name}, {"{key}", key}}));
  TaskSample sample;
  sample.context = std::string(kHead) + joined(text, "\n");
  sample.question = hidden.question;
  sample.answer_prefix = hidden.prefix;
  sample.answers = {key};
  sample.depth = 100.0 * static_cast<double>(position) / (kPositions - 1);
  return sample;
}

std::string pass_key(Draws& draws) { return draws.characters(kKeyDigits, kDigits); }

std::string number_string(Draws& draws) {
  std::string key = pass_key(draws);
  for (std::size_t i = 0; i < kRepeats; ++i) {
    const std::size_t at = draws.below(key.size());
    key.insert(at, 1, key[at]);
  }
  return key;
}

// Few samples are spread over all positions too.
std::size_t position_of(std::size_t sample, std::size_t samples) {
  if (samples >= kPositions) return sample % kPositions;
  return samples < 2 ? kPositions / 2 : sample * (kPositions - 1) / (samples - 1);
}

Result<std::vector<TaskSample>> make_hidden_key(const TaskInfo& task, const TaskRequest& request,
                                                std::size_t length, const HiddenKey& hidden,
                                                std::string (*draw_key)(Draws&)) {
  if (request.material == Material::kPublished) {
    return published_infinitebench_samples(task, request, length,
                                           [&](const InfiniteBenchRow& row) -> Result<TaskSample> {
                                             TaskSample sample;
                                             sample.context = std::string(kHead) + row.context;
                                             sample.question = hidden.question;
                                             sample.answer_prefix = hidden.prefix;
                                             return sample;
                                           });
  }
  const std::size_t samples = samples_of(task, request);
  const Generator generator = {
      .step = 10,
      .source = std::string(kMadeSource),
      .make =
          [&](Draws& draws, std::size_t sample, std::size_t lines) {
            return hidden_key_sample(hidden, draw_key(draws), position_of(sample, samples), lines);
          },
  };
  return generate_samples(task, request, length, generator);
}

Result<std::vector<TaskSample>> make_passkey(const TaskInfo& task, const TaskRequest& request,
                                             std::size_t length) {
  return make_hidden_key(task, request, length, kPassKey, pass_key);
}

Result<std::vector<TaskSample>> make_number(const TaskInfo& task, const TaskRequest& request,
                                            std::size_t length) {
  return make_hidden_key(task, request, length, kNumber, number_string);
}

constexpr std::string_view kPairsHead =
    "Find the value that belongs to a key in the JSON object below.\n\n";
constexpr std::string_view kPairsQuestion = "\nWhich value belongs to the key \"{key}\"?\n";
constexpr std::string_view kPairsPrefix = "The value that belongs to it is";

// The sample's share of the way through the object decides which pair is asked for.
TaskSample pairs_sample(Draws& draws, double share, std::size_t pairs) {
  std::set<std::string> used;
  const auto fresh = [&] {
    std::string id = draws.uuid();
    while (!used.insert(id).second) id = draws.uuid();
    return id;
  };
  const auto asked =
      std::min(static_cast<std::size_t>(static_cast<double>(pairs) * share), pairs - 1);
  TaskSample sample;
  sample.context = std::string(kPairsHead) + "{";
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::string key = fresh();
    const std::string value = fresh();
    sample.context += (i == 0 ? "\"" : ", \"") + key + "\": \"" + value + "\"";
    if (i == asked) {
      sample.question = filled(kPairsQuestion, {{"{key}", key}});
      sample.answers = {value};
    }
  }
  sample.context += "}";
  sample.answer_prefix = kPairsPrefix;
  sample.depth = 100.0 * share;
  return sample;
}

Result<std::vector<TaskSample>> make_pairs(const TaskInfo& task, const TaskRequest& request,
                                           std::size_t length) {
  if (request.material == Material::kPublished) {
    // The input asks the question and ends in an answer cue of its own.
    return published_infinitebench_samples(task, request, length,
                                           [](const InfiniteBenchRow& row) -> Result<TaskSample> {
                                             TaskSample sample;
                                             sample.context = std::string(kPairsHead) + row.context;
                                             sample.question = "\n" + row.input;
                                             return sample;
                                           });
  }
  const auto samples = static_cast<double>(samples_of(task, request));
  const Generator generator = {
      .step = 10,
      .source = std::string(kMadeSource),
      .make =
          [&](Draws& draws, std::size_t sample, std::size_t pairs) {
            return pairs_sample(draws, static_cast<double>(sample) / samples, pairs);
          },
  };
  return generate_samples(task, request, length, generator);
}

constexpr TaskInfo kTasks[] = {
    {
        .name = "infinitebench/passkey",
        .category = "retrieval",
        .summary = "five digits in lines that say nothing",
        .metric = "first_integer",
        .max_new_tokens = 15,
        .samples = 590,
        .needs_length = true,
        .length_optional_if_published = true,
        .make = make_passkey,
    },
    {
        .name = "infinitebench/number_string",
        .category = "retrieval",
        .summary = "ten digits, many of them repeated, in lines that say nothing",
        .metric = "first_integer",
        .max_new_tokens = 20,
        .samples = 590,
        .needs_length = true,
        .length_optional_if_published = true,
        .make = make_number,
    },
    {
        .name = "infinitebench/kv_retrieval",
        .category = "retrieval",
        .summary = "the uuid that belongs to a uuid in a JSON object",
        .metric = "word_found",
        .max_new_tokens = 80,
        .samples = 500,
        .needs_length = true,
        .length_optional_if_published = true,
        .make = make_pairs,
    },
};

}  // namespace

extern const TaskFamily infinitebench_retrieval_tasks;
constinit const TaskFamily infinitebench_retrieval_tasks{.suite = "infinitebench", .tasks = kTasks};

}  // namespace restkv
