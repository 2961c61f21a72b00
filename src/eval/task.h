#pragma once

// What the runner of an evaluation sees of a task: a name, a description, and samples. A family of
// tasks is one file of src/eval/tasks with its table entry; to add one, write the file and its
// test.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

// The model's tokenizer, as far as a task needs it. Both functions are deterministic.
struct Tokenizer {
  std::function<std::vector<Token>(std::string_view)> tokenize;   // no BOS, nothing special
  std::function<std::string(std::span<const Token>)> detokenize;  // any bytes
  std::size_t count(std::string_view text) const { return tokenize(text).size(); }  // tokens
};

// Where word lists, filler text and questions come from.
enum class Material : std::uint8_t {
  kAuto,       // the benchmark's own files where the data folder has them, else texts of ours
  kOwn,        // texts of ours, whatever the data folder holds
  kPublished,  // the benchmark's prompts as they were published; a missing file is an error
};
enum class Wrap : std::uint8_t {
  kChat,   // one user message in the model's chat template; the answer prefix begins the answer
  kPlain,  // text to be continued; never in a chat template
};
// Which part of a prediction is scored.
enum class AnswerPart : std::uint8_t {
  kWhole,
  kFirstLine,  // after leading newlines are dropped
};

// One question. The prompt is context + question + answer_prefix, with nothing between.
struct TaskSample {
  std::string id;       // unique within the task: "4096/17"
  std::string context;  // what a question-agnostic method sees; may be empty
  std::string question;
  std::string answer_prefix;         // mostly empty
  std::vector<std::string> answers;  // right answers, as the metric wants them; never empty
  std::vector<std::string> classes;  // all labels, for the metric "classification"
  std::string metric;                // name of the scorer
  Wrap wrap = Wrap::kChat;
  AnswerPart scored = AnswerPart::kWhole;
  std::vector<std::string> stops;  // the answer ends before any of these texts
  // As a token by itself, the last one of this text ends the answer as the model's own end does; it
  // may be part of other tokens. Empty: none.
  std::string end_token;
  std::size_t max_new_tokens = 0;
  std::size_t min_new_tokens = 0;
  std::size_t length = 0;       // tokens that were asked for, answer included; 0 = as it comes
  std::size_t tokens = 0;       // prompt, chat template and max_new_tokens
  std::optional<double> depth;  // 0 .. 100: where in the context the answer stands
  std::string wording;          // "official", or the name of ours: results compare under one only
  std::string source;           // what the text was made from

  [[nodiscard]] std::string prompt() const { return context + question + answer_prefix; }
};

// What is asked of a task.
struct TaskRequest {
  std::string data_dir;  // empty = there is none
  Material material = Material::kAuto;
  std::uint64_t seed = 42;
  std::size_t samples = 0;  // of each length; 0 = TaskInfo::samples
  // Tokens, the answer included. Generated tasks fill them and need at least one; tasks that come
  // from files are cut in the middle to each of them, or left whole when there is none.
  std::vector<std::size_t> lengths;
  std::size_t template_tokens = 0;  // tokens of BOS and chat template around a prompt
  Tokenizer tokenizer;
};

// A file of a benchmark below the data folder. Constant data.
struct DataFile {
  std::string_view path;    // "gsm8k/test.jsonl"
  std::string_view origin;  // whence a user gets it
  std::string_view licence;
};

// A task's entry. Constant data.
struct TaskInfo {
  std::string_view name;      // "ruler/niah_single_1"; a promise: changed behaviour = new name
  std::string_view category;  // tasks that are averaged together
  std::string_view summary;   // one line
  std::string_view metric;
  std::size_t max_new_tokens = 0;
  std::size_t samples = 0;  // of each length, when the request names none; a file may hold fewer
  bool in_suite = true;     // part of what the suite's name stands for
  bool needs_length = false;
  // Published files need none: their items stay whole then.
  bool length_optional_if_published = false;
  // The samples of one length (0 = as they come). A smaller number of samples is a prefix of a
  // larger one, except where samples are spread over depths.
  Result<std::vector<TaskSample>> (*make)(const TaskInfo& task, const TaskRequest& request,
                                          std::size_t length) = nullptr;
};

// The tasks of one file. Constant data.
struct TaskFamily {
  std::string_view suite;  // "ruler"
  std::span<const TaskInfo> tasks;
};

// Generated from the files of src/eval/tasks, in their order.
std::span<const TaskFamily* const> all_task_families();

// All tasks in a fixed order.
std::vector<const TaskInfo*> all_tasks();

// The task of a full name, or of the part behind the slash where only one task has it; null when
// there is none.
const TaskInfo* find_task(std::string_view name);

// Names of tasks and suites -> tasks, each once, in the order of asking. "longbench" stands for the
// tasks of that suite that are in it by default, "longbench/all" for every one. An unknown name is
// kInvalidArgument; the message lists the suites and the nearest tasks.
Result<std::vector<const TaskInfo*>> select_tasks(std::span<const std::string> names);

// The samples of a task at every length asked for: same request, same bytes. kInvalidArgument for a
// request without a length that the task needs, or with one that it cannot fit; kNotFound for a
// missing file (which, from where, under which licence); kCorrupt for a broken one (file, line and
// field).
// REQUIRES: both functions of the tokenizer
Result<std::vector<TaskSample>> make_samples(const TaskInfo& task, const TaskRequest& request);

}  // namespace restkv
