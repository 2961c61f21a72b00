#pragma once

// What a run has to do: the samples, and which variants each still lacks.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/chinese_words.h"
#include "eval/runner.h"
#include "eval/scorers/scorer.h"
#include "text/chat_template.h"

namespace restkv {

// A sample with the variants that have no row for it.
struct EvalItem {
  const TaskInfo* task = nullptr;
  const ScorerInfo* scorer = nullptr;
  TaskSample sample;
  std::vector<Token> tokens;
  // How many of them are read before rows go, for each way in which a variant reads the others
  // later. Of the text: as far as the prompt agrees with that of the context alone; of the
  // question: up to where it ends as every prompt of the template does.
  std::map<ReadFirst, std::size_t> first_tokens;
  std::size_t number = 0;             // among all samples of the run, those that are done included
  std::string hash;                   // of the tokens and the settings
  std::vector<std::size_t> variants;  // indices; not empty
  bool marked = false;
  // What this item and its neighbours of the same group begin with (eval/prefix_groups.h).
  std::size_t group = 0;
  std::size_t prefix_tokens = 0;
};

struct EvalPlan {
  std::vector<EvalItem> items;
  std::optional<ChineseWords> chinese_words;  // loaded when a scorer needs them
  EvalOutcome outcome;                        // `found` and `skipped` are filled in
  // Model, version, kernels and variants: of ranks that have the same, rows may stand beside each
  // other.
  std::string identity;
};

// The suite of a task: what stands before the slash of its name.
[[nodiscard]] std::string_view suite_of(const TaskInfo& task);

// The fields of a row that say which sample it belongs to.
[[nodiscard]] EvalRow row_key(const EvalItem& item, const EvalSettings& settings);

// Errors as of run_evaluation().
Result<EvalPlan> plan_evaluation(const EvalModel& model, std::span<const TaskInfo* const> tasks,
                                 std::span<const EvalVariant> variants,
                                 const EvalSettings& settings, const EvalWatch& watch,
                                 const ResultStore& store);

}  // namespace restkv
