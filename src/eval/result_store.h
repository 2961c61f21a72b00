#pragma once

// Where results live: one SQLite file with one row for each sample and variant. A row is written
// once; a run that was killed at any moment leaves whole prompts behind, each with all or none of
// the rows that were written together.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "restkv/result.h"

namespace restkv {

// One prediction, with all that is needed to say what it is one of.
struct EvalRow {
  // The key. Two rows that agree in all of these are one result.
  std::string fingerprint;   // of the model's file
  std::string task;          // "ruler/vt"
  std::int64_t length = 0;   // tokens asked for; 0 = as it comes
  std::string sample;        // unique within the task: "4096/17"
  std::int64_t seed = 0;     // of the samples
  std::string variant_json;  // variant_json(), as text

  std::string model;  // file name
  std::string suite;
  std::string category;
  std::string metric;
  std::string wording;
  std::string source;
  std::string prompt_hash;  // of the tokens that the model saw
  double depth = -1;        // 0 .. 100; -1 = the task has none

  std::string variant;  // for people; see variant_label()
  std::string policy;
  std::string options;  // in force, "name=value name=value"
  std::string budget;   // as asked; empty = none
  std::string allocator;
  std::string schedule;
  std::string granularity;
  std::string mode;
  std::string prefill;
  std::string decode_attn;
  std::string decode_budget;

  std::string prediction;
  std::string answers;  // right ones, a JSON list
  double score = 0;     // 0 .. 1
  std::int64_t answered = 1;
  std::string stop;            // eos, text, limit, context
  std::int64_t truncated = 0;  // ended by the limit or the context
  std::int64_t looping = 0;    // truncated while it repeated itself

  std::int64_t prompt_tokens = 0;
  std::int64_t generated_tokens = 0;
  double kept_tokens = 0;  // of the prompt, mean over layers and KV heads (or query heads)
  std::int64_t bytes = 0;  // of the cache after the prompt
  std::int64_t bytes_full = 0;
  std::int64_t bytes_peak = 0;
  double prefill_ms = 0;   // shared by the variants of a prompt
  double compress_ms = 0;  // this variant's
  double decode_ms = 0;    // until its own end, beside the others of its batch
  std::int64_t batch = 1;  // sequences that began to decode together

  std::string version;  // of restkv
  std::string kernels;
  std::string settings;  // of the run, as JSON
  // For each token of the prompt a digit: 0 = kept nowhere .. 9 = by more than 8 of 9 heads of
  // all layers.
  // Empty where it was not asked for, or where everything was kept.
  std::string kept;

  // While the answer was written: mean over steps, layers and KV heads; 0 where it took no step.
  double rows_read = 0;
  double rows_held = 0;
  std::int64_t summary_bytes = 0;  // of the blocks' summaries, all of which a step reads
};

// The columns, in their order in the file and in every list of rows. Constant data.
struct EvalColumn {
  const char* name;
  std::variant<std::string EvalRow::*, std::int64_t EvalRow::*, double EvalRow::*> member;
};
std::span<const EvalColumn> eval_columns();

// A prompt that is kept to be looked at: its tokens as text.
struct EvalPrompt {
  std::string hash;
  std::vector<std::string> pieces;  // [tokens]
};

// Not thread-safe. Errors: kIo (locked for more than ten seconds, full disk, no permission; the
// message names the file), kCorrupt (no database, or not one of ours), kUnsupported (of another
// version).
class ResultStore {
 public:
  // Makes the file when there is none.
  static Result<ResultStore> open_or_make(const std::string& path);
  // For reading only. kNotFound when there is none.
  static Result<ResultStore> open(const std::string& path);
  ResultStore(ResultStore&&) noexcept;
  ResultStore& operator=(ResultStore&&) noexcept;
  ~ResultStore();

  // What of a prompt is done: variant_json -> prompt_hash. `key`: its first five fields count.
  [[nodiscard]] Result<std::map<std::string, std::string>> finished(const EvalRow& key) const;
  // All rows and the prompt (may be null), or nothing, on the disk when this returns. A row that is
  // there already stays as it is.
  Result<void> add(std::span<const EvalRow> rows, const EvalPrompt* prompt);

  // In the order of the key.
  [[nodiscard]] Result<std::vector<EvalRow>> rows() const;
  [[nodiscard]] Result<std::map<std::string, EvalPrompt>> prompts() const;  // by hash
  [[nodiscard]] Result<bool> has_prompt(const std::string& hash) const;

 private:
  struct State;
  explicit ResultStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace restkv
