#pragma once

// Runs an evaluation: each prompt is read once for all variants that still lack it, they answer
// side by side, and their rows go into the store together.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/chinese_words.h"
#include "eval/result_store.h"
#include "eval/task.h"
#include "eval/variant.h"
#include "restkv/engine.h"
#include "restkv/result.h"
#include "text/vocabulary.h"

namespace restkv {

// kByTask wraps a prompt in the chat template where its task says so; kPlain never does, and made
// texts are longer by as much. kPlainSameTexts wraps none either, but makes the texts of kByTask.
enum class PromptForm : std::uint8_t { kByTask, kPlain, kPlainSameTexts };

// Whether prompts that begin alike share the keys and values of that part
// (restkv/shared_prefix.h). Every answer is the same either way.
enum class PrefixReuse : std::uint8_t { kOn, kOff };

struct EvalSettings {
  std::string model;        // file name, for people
  std::string fingerprint;  // of the file
  std::string version;      // of restkv, with the commit it was built from
  // What else changes the answers, as JSON. Rows made under other settings are not mixed with
  // these: the run is refused.
  std::string settings = "{}";
  PromptForm form = PromptForm::kByTask;
  std::string chat_template;  // a built-in name, or empty for the model's own
  // The runner fills in the tokenizer and the tokens of the template.
  TaskRequest request;
  // The folder of jieba's words; sets that are scored by them are skipped where it is missing.
  std::string chinese_words = std::string(ChineseWords::kInstalledFolder);
  std::size_t context = 0;  // positions that a prompt and its answer may take
  PrefixReuse prefixes = PrefixReuse::kOn;
  std::size_t marked_samples = 1;  // of each task and length: prompts kept with their kept tokens
};

struct EvalProgress {
  std::size_t tokens_done = 0;  // of prompts and the room for their answers
  std::size_t tokens_total = 0;
};

class Ranks;  // eval/ranks.h

struct EvalWatch {
  std::function<void(const EvalProgress&)> on_progress;  // may be empty
  std::function<void(const std::string&)> on_note;       // one line; may be empty
  const std::atomic<bool>* cancel = nullptr;             // may be null
  // Who else takes part; null: nobody. With any rank but 0 the store is not written to, and should
  // be an empty one in memory.
  Ranks* ranks = nullptr;
};

struct EvalOutcome {
  std::size_t added = 0;          // rows
  std::size_t found = 0;          // rows that were there before
  std::size_t tokens = 0;         // of the prompts that were read, once for each way of reading
  std::size_t shared_tokens = 0;  // of these: not read again, another prompt began with them
  double shared_ms = 0;           // what reading them once took, for each time that it was spared
  std::vector<std::string> skipped;  // tasks whose data or words are missing
};

struct EvalModel {
  Engine& engine;
  std::shared_ptr<const Vocabulary> vocabulary;  // not null
};

// Tasks whose data are missing are skipped with a note; when all are, that is the error. Everything
// is checked before the first prompt is read. A prompt from a file that is longer than the context
// is cut in the middle; one made at a length that does not fit is kInvalidArgument.
// kInvalidArgument too when the store holds a sample of the same name with another prompt or under
// other settings. kCancelled between prompts, layers or steps: what is in the store stays, and the
// same call goes on there. REQUIRES: at least one task and one variant
Result<EvalOutcome> run_evaluation(const EvalModel& model, std::span<const TaskInfo* const> tasks,
                                   std::span<const EvalVariant> variants,
                                   const EvalSettings& settings, const EvalWatch& watch,
                                   ResultStore& store);

// The tokens that the model sees of a sample. `chat` is null for plain text.
class ChatTemplate;
Result<std::vector<Token>> prompt_tokens(const TaskSample& sample, const Vocabulary& vocabulary,
                                         const ChatTemplate* chat);

}  // namespace restkv
