#pragma once

// The study: does a method that was tuned on long documents carry over to arithmetic, and how much
// do scores on RULER vary? What is run at which scale, and what the results allow us to say.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/report/report.h"
#include "eval/runner.h"
#include "eval/variant.h"
#include "restkv/result.h"

namespace restkv {

// One evaluation of the study.
struct StudyPart {
  std::string title;
  std::vector<std::string> tasks;
  std::vector<std::size_t> lengths;   // empty = as they come
  std::size_t samples = 0;            // of each task and length
  std::vector<EvalVariant> variants;  // the full cache first, where it is one
  PromptForm form = PromptForm::kByTask;
  std::size_t seeds = 1;  // of the samples: the run's own and those after it
  // Behind the name of the database that keeps its rows, where they do not mix with the others'.
  std::string_view file_ending = {};
  bool meets_ab_sparse = false;    // parts_of_equal_bytes() go after it
  bool is_about_template = false;  // nothing to ask where no prompt has one
  // A model that cannot do a task says nothing about caches: the full cache goes first, and a
  // suite on which it stays below kLeastFullScore is left to a stronger model.
  bool may_be_too_hard = false;
};

// Values of StudyPart::file_ending.
inline constexpr std::string_view kBeforeTailRows = ".tail";
inline constexpr std::string_view kPlainRows = ".plain";
inline constexpr std::string_view kEqualBytesRows = ".equal";

// trial: one sample of each, does everything work? small: within two hours on two cores with a
// model of half a billion parameters; medium: a night; large: days.
std::span<const std::string_view> study_scales();

// In the place of what a scale takes; 0 and empty: as the scale has it.
struct StudyAmounts {
  std::size_t arithmetic_samples = 0;
  std::size_t ruler_samples = 0;  // of each task, length and seed
  std::size_t ruler_seeds = 0;
  std::vector<std::size_t> ruler_lengths;
};

// kInvalidArgument for an unknown scale; the message lists them. The methods are those of the
// study's list that this program has.
Result<std::vector<StudyPart>> study_parts(std::string_view scale,
                                           const StudyAmounts& amounts = {});

// Steps whose bytes differ by less, as a share, read as much.
inline constexpr double kEqualBytes = 0.02;

// Budgets of ReST-KV, by length, whose steps read as many bytes as those of the part's variants
// that read by blocks have read, each once; none that is a variant of the part, or more than a
// prompt has. `rows`: of the part; `run_before`: of parts_of_equal_bytes(), so that a budget which
// reads nearly as much (2 %) is taken again. A model is told by its fingerprint.
using BudgetsByLength = std::map<std::size_t, std::vector<std::size_t>>;
[[nodiscard]] BudgetsByLength budgets_of_equal_bytes(const StudyPart& part,
                                                     std::string_view fingerprint,
                                                     std::span<const EvalRow> rows,
                                                     std::span<const EvalRow> run_before);
// The part again with ReST-KV at these budgets, a part for each length.
[[nodiscard]] std::vector<StudyPart> parts_of_equal_bytes(const StudyPart& part,
                                                          const BudgetsByLength& budgets);

// Gives the variants that read by blocks the table of a file. As read_block_table();
// kInvalidArgument when it is for another estimator.
Result<void> use_block_table(std::vector<EvalVariant>& variants, const std::string& path);

// Suites of which the model's full cache answers less than kLeastFullScore, with that share. A
// model is told by its fingerprint: files of one name may hold several.
std::map<std::string, double> suites_too_hard(std::span<const EvalRow> rows,
                                              std::string_view fingerprint);

// Whether more samples would hardly change the answer of suites_too_hard(): of each of the model's
// suites the 95 % interval (Wilson's) of the full cache's share lies on one side of
// kLeastFullScore. REQUIRES: scores in [0, 1].
bool ability_is_clear(std::span<const EvalRow> rows, std::string_view fingerprint);

// So many samples of a part that may be too hard go first; where they leave it open, all go.
inline constexpr std::size_t kAbilitySamples = 20;

// A full cache below this share of right answers means that the model cannot do the task, and a
// comparison of caches says nothing.
inline constexpr double kLeastFullScore = 0.3;

// What a full cache has answered of a suite, whatever others have.
struct FullScore {
  double sum = 0;
  std::size_t prompts = 0;

  [[nodiscard]] double mean() const { return sum / static_cast<double>(prompts); }
};
using FullScores = std::map<std::pair<std::string, std::string>, FullScore>;  // by model and suite
[[nodiscard]] FullScores full_scores(std::span<const EvalRow> rows);

// What the study's text is made from.
struct StudyResults {
  ReportData prompts;  // as each task has them: those that all methods have answered
  const ReportData* before_tail = nullptr;  // in the mode of that name; null: there are none
  const ReportData* plain = nullptr;        // without a chat template; null: there are none
  const ReportData* equal_bytes = nullptr;  // of parts_of_equal_bytes(); null: there are none
  std::string command;                      // that made them: "restkv study --scale small"
  FullScores full = {};                     // of all prompts; empty: those of `prompts`
  std::size_t left_out = 0;                 // prompts that not every method has answered
};

// Where study_markdown() says that all figures are.
inline constexpr std::string_view kStudyFigures = "study-figures.md";

// What may be concluded, in Markdown. Pictures are named as study_pictures() names them.
std::string study_markdown(const StudyResults& results);
// The whole report, in Markdown.
std::string study_figures_markdown(const StudyResults& results);

// File name -> SVG, one for each model and suite that has more than one budget.
std::map<std::string, std::string> study_pictures(const ReportData& data);

}  // namespace restkv
