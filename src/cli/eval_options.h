#pragma once

// The flags that `eval` and `study` share, and the evaluation that they come to.

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "eval/runner.h"
#include "eval/task.h"
#include "eval/variant.h"

namespace restkv {

inline constexpr std::size_t kVariantDimensions = 7;

// What the user typed.
struct EvalOptions {
  CommonOptions common;
  std::string policies;  // lists; empty = not given
  std::string budgets;
  std::string allocators;
  std::array<std::string, kVariantDimensions> dimensions;  // as variant_dimensions()
  std::string variants_file;
  std::vector<std::size_t> lengths;
  std::size_t samples = 0;  // 0 = as many as each task has by default
  std::uint64_t seed = kUsualSeed;
  Material material = Material::kAuto;
  std::string data_dir;
  std::string database = "restkv-eval.db";
  std::size_t marked_samples = 1;
  PromptForm form = PromptForm::kByTask;
  PrefixReuse prefixes = PrefixReuse::kOn;
  std::string chat_template;
};

void add_variant_flags(FlagSet& flags, EvalOptions& options);
void add_sample_flags(FlagSet& flags, EvalOptions& options);

// kInvalidArgument for options that would lose the results, or that do not go together.
Result<void> check_eval_options(const EvalOptions& options);

// The file's list, or the product of the lists. kInvalidArgument when both are given, and for
// anything that does not exist. Nothing is loaded yet.
Result<std::vector<EvalVariant>> eval_variants(const EvalOptions& options);

// Arguments that stand before the first flag are taken off and returned.
std::vector<std::string> take_names(std::span<const std::string_view>& args);

// A model that is ready to be evaluated.
struct EvalSession {
  Session session;
  EvalSettings settings;
};
Result<EvalSession> open_evaluation(EvalOptions options, const std::atomic<bool>& cancel);
// The same evaluation with prompts of another form; `options` are those it was opened with.
void use_form(EvalSession& opened, EvalOptions options, PromptForm form);

// Runs the tasks with a progress bar; notes go to stderr, those of rank 0. ranks: see EvalWatch.
Result<EvalOutcome> evaluate(EvalSession& opened, std::span<const TaskInfo* const> tasks,
                             std::span<const EvalVariant> variants, ResultStore& store,
                             const std::atomic<bool>& cancel, Ranks* ranks);
// Where the rows go: the file, or a store in memory for the ranks that only send theirs.
Result<ResultStore> open_store(const std::string& path, const Ranks* ranks);

}  // namespace restkv
