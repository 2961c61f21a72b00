#pragma once

// From rows to what may be said about them: means, spreads, and differences with their doubt.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/result_store.h"
#include "eval/score_spread.h"
#include "eval/statistics.h"
#include "restkv/result.h"

namespace restkv {

// What a mean is taken over.
enum class SummaryLevel : std::uint8_t {
  kTask,      // one task at one length
  kCategory,  // the tasks of one category, all lengths
  kLength,    // the tasks of one suite, one length
  kSuite,     // all of a suite
};
[[nodiscard]] const char* summary_level_name(SummaryLevel level);

// Two variants on the prompts that both have answered: first - second.
struct Comparison {
  std::size_t pairs = 0;  // prompts
  Interval difference;    // mean over (task, length, seed), with its bootstrap interval
  double p = 1;           // of sign flips
  double p_holm = 1;      // corrected for all comparisons of the same kind: see below
  double p_bh = 1;
  // Paired samples, over tasks, lengths and seeds as these are, that a difference of this size
  // would need (5 %, power 0.8); nothing when the difference is 0 or no group has two samples.
  std::optional<std::uint64_t> samples_needed;
  std::optional<double> detectable;  // the smallest difference that these pairs would find so
};

// Fills p_holm and p_bh from the p of all that are compared together.
void correct_for_many(std::span<Comparison* const> family);

// One name for each model, which is told by its fingerprint: that of its first row, and the
// beginning of the fingerprint behind it where another model has the same name.
void name_models(std::span<EvalRow> rows);

// What a step of the answer reads: means over the samples that took one.
struct StepReading {
  double rows = 0;  // of a KV head and layer
  // Of the cache: those rows of all KV heads and layers, those of the answer among them, and the
  // blocks' summaries; without the bits that say which query heads hold a row.
  double bytes = 0;
};
// Nothing where no sample took a step.
[[nodiscard]] std::optional<StepReading> mean_reading(std::span<const EvalRow* const> rows);

struct SummaryEntry {
  std::string fingerprint;  // of the model
  std::string model;        // as name_models() calls it
  SummaryLevel level = SummaryLevel::kTask;
  std::string name;         // "ruler/vt", "ruler/retrieval", "ruler"
  std::int64_t length = 0;  // tokens; of kCategory and kSuite, which are over all of them, 0
  std::string variant;
  std::string policy;
  std::string budget;
  std::string allocator;
  std::size_t samples = 0;  // rows
  double mean = 0;          // unweighted over (task, length, seed)
  ScoreSpread spread;
  double kept_share = 1;  // rows kept of the prompt, mean over samples
  double read_share = 1;  // those of them that a step may read; as many, where all are read
  double bytes = 0;       // of the cache after the prompt, mean
  std::optional<StepReading> reading;
  double truncated = 0;  // share of the answers
  double looping = 0;
  double unanswered = 0;
  // Against the full cache on the same prompts; nothing for itself, or where it was not run. The
  // corrections count all of these of one model and level.
  std::optional<Comparison> against_full;
};

// Two methods at the same budget, over a whole suite. The corrections count all of these of one
// model and suite.
struct MethodComparison {
  std::string model;
  std::string suite;
  std::string first;  // variants
  std::string second;
  std::string budget;
  Comparison comparison;
};

struct Summary {
  std::vector<SummaryEntry> entries;  // by model, level, name, length; full caches first
  std::vector<MethodComparison> methods;
};

// Rows in any order; of a prompt that was asked under several seeds the first alone counts
// (without_repeats()). options.comparisons counts for nothing: every comparison is told the size of
// its own family. kInvalidArgument when there is no row, a score that is not finite, or options
// that bootstrap_interval() refuses.
Result<Summary> summarise(std::span<const EvalRow> rows, const ResamplingOptions& options);

// Labels of variants in the order in which tables have them: full caches first, then by policy,
// allocator and budget, the smaller first.
[[nodiscard]] std::vector<std::string> variants_in_order(std::span<const EvalRow> rows);

}  // namespace restkv
