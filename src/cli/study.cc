// `restkv study`: the comparison of the study from end to end: runs what is missing, writes the
// text and the page.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>
#include <thread>

#include "base/names.h"
#include "cli/calibration.h"
#include "cli/commands.h"
#include "cli/decode_flags.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"
#include "cli/report_file.h"
#include "eval/row_choice.h"
#include "eval/study.h"
#include "eval/tasks/ruler_qa_common.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv study [-m MODEL] [--scale trial|small|medium|large] [--data DIR] [-o DIR]\n\n"
    "Runs GSM8K, MultiArith and RULER under ReST-KV and the methods it is compared with, and\n"
    "writes study.md and study.html. The same command again goes on where it stopped. A task of\n"
    "which the full cache answers less than 30 % is left to a stronger model.";

constexpr std::string_view kStrongModel = "qwen2.5-coder-1.5b";
constexpr std::string_view kNoModel = "none";
constexpr std::string_view kUnclear = "unclear";  // in the place of a list of tasks

struct StudyOptions {
  EvalOptions eval;
  std::string scale = "small";
  StudyAmounts amounts;
  std::string folder = "study";
  std::string strong_model = std::string(kStrongModel);
  std::string block_table;  // empty: measured
  bool only_write = false;  // run nothing
};

// What whoever wants the same results types, but for the folders.
std::string command_of(const StudyOptions& options) {
  const StudyAmounts& amounts = options.amounts;
  std::string command = "restkv study --scale " + options.scale;
  if (amounts.arithmetic_samples > 0) {
    command += " --arithmetic-samples " + std::to_string(amounts.arithmetic_samples);
  }
  if (amounts.ruler_samples > 0) {
    command += " --ruler-samples " + std::to_string(amounts.ruler_samples);
  }
  if (amounts.ruler_seeds > 0) command += " --ruler-seeds " + std::to_string(amounts.ruler_seeds);
  std::string lengths;
  for (const std::size_t length : amounts.ruler_lengths) {
    lengths += (lengths.empty() ? " --lengths " : ",") + std::to_string(length);
  }
  command += lengths;
  const EvalOptions& eval = options.eval;
  const auto add = [&command](const char* flag, const std::string& value) {
    if (!value.empty()) command += std::string(" ") + flag + " " + value;
  };
  add("-m", eval.common.model);
  if (eval.seed != kUsualSeed) add("--seed", std::to_string(eval.seed));
  if (eval.material == Material::kPublished) add("--material", "published");
  if (eval.material == Material::kOwn) add("--material", "own");
  if (eval.form == PromptForm::kPlain) command += " --raw";
  add("--chat-template", eval.chat_template);
  if (options.strong_model != kStrongModel) add("--strong-model", options.strong_model);
  add("--decode-table", options.block_table);
  return command + result_flags_text(eval.common);
}

// The same bytes for all ranks: rank 0's.
std::string agreed(std::string mine, Ranks* ranks) {
  if (ranks == nullptr) return mine;
  if (ranks->rank() == 0) {
    for (int rank = 1; rank < ranks->count(); ++rank) ranks->send(rank, mine);
    return mine;
  }
  while (true) {
    if (auto message = ranks->receive()) return std::move(message->bytes);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

class Study {
 public:
  Study(const StudyOptions& options, const InterruptGuard& interrupt, Ranks* ranks)
      : options_(options), interrupt_(interrupt), ranks_(ranks) {}

  Result<int> run(const std::vector<StudyPart>& parts);

 private:
  // file_ending: as StudyPart's.
  [[nodiscard]] std::string database(std::string_view file_ending = {}) const;
  // No rows where there is no such database.
  [[nodiscard]] Result<std::vector<EvalRow>> stored_rows(std::string_view file_ending) const;
  Result<std::vector<StudyPart>> run_on(std::string_view model, std::vector<StudyPart> parts,
                                        bool hard_ones_go_on);
  Result<std::string> block_table(EvalSession& opened, bool is_users) const;
  Result<std::vector<std::string>> hard_tasks(EvalSession& opened, const StudyPart& part);
  Result<void> run_part(EvalSession& opened, const StudyPart& part);
  Result<void> run_equal_bytes(EvalSession& opened, const StudyPart& part);
  [[nodiscard]] Result<std::optional<ReportData>> data_apart(std::string_view file_ending) const;
  [[nodiscard]] Result<int> write() const;
  void say(const std::string& line) const {
    if (leads(ranks_)) std::fprintf(stderr, "%s\n", line.c_str());
  }

  const StudyOptions& options_;
  const InterruptGuard& interrupt_;
  Ranks* ranks_;
};

std::string Study::database(std::string_view file_ending) const {
  const std::string& given = options_.eval.database;
  return (given.empty() ? options_.folder + "/study.db" : given) + std::string(file_ending);
}

Result<std::vector<EvalRow>> Study::stored_rows(std::string_view file_ending) const {
  if (!std::filesystem::exists(database(file_ending))) return std::vector<EvalRow>();
  RESTKV_ASSIGN(const ResultStore store, open_store(database(file_ending), ranks_));
  RESTKV_ASSIGN(std::vector<EvalRow> rows, store.rows());
  return without_repeats(std::move(rows));
}

// A part whose data are missing is left out; the text then speaks of the others.
Result<void> Study::run_part(EvalSession& opened, const StudyPart& part) {
  RESTKV_ASSIGN(const auto tasks, select_tasks(part.tasks));
  RESTKV_ASSIGN(ResultStore store, open_store(database(part.file_ending), ranks_));
  opened.settings.request.lengths = part.lengths;
  opened.settings.request.samples = part.samples;
  const bool plain = options_.eval.form == PromptForm::kPlain;
  use_form(opened, options_.eval, plain ? PromptForm::kPlain : part.form);
  say(part.title + ": " + std::to_string(tasks.size()) + " tasks, " + std::to_string(part.samples) +
      " samples of each, " + std::to_string(part.variants.size()) + " variants, " +
      opened.settings.model);
  for (std::size_t i = 0; i < part.seeds; ++i) {
    opened.settings.request.seed = options_.eval.seed + i;
    const auto outcome = evaluate(opened, tasks, part.variants, store, interrupt_.flag(), ranks_);
    if (outcome.ok()) continue;
    if (outcome.error().code != ErrorCode::kNotFound) return outcome.error();
    say("restkv: " + part.title + " is left out: " + outcome.error().message);
    break;
  }
  opened.settings.request.seed = options_.eval.seed;
  return {};
}

// After the part, whose rows say how many bytes that is.
Result<void> Study::run_equal_bytes(EvalSession& opened, const StudyPart& part) {
  std::string text;  // a line for each length, and the budgets behind it
  if (leads(ranks_)) {
    RESTKV_ASSIGN(const std::vector<EvalRow> rows, stored_rows(part.file_ending));
    RESTKV_ASSIGN(const std::vector<EvalRow> before, stored_rows(kEqualBytesRows));
    for (const auto& [length, budgets] :
         budgets_of_equal_bytes(part, opened.settings.fingerprint, rows, before)) {
      text += std::to_string(length);
      for (const std::size_t budget : budgets) text += " " + std::to_string(budget);
      text += "\n";
    }
  }
  std::istringstream lines(agreed(std::move(text), ranks_));
  BudgetsByLength all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    std::size_t length = 0;
    numbers >> length;
    for (std::size_t budget = 0; numbers >> budget;) all[length].push_back(budget);
  }
  for (const StudyPart& equal : parts_of_equal_bytes(part, all)) {
    RESTKV_TRY(run_part(opened, equal));
  }
  return {};
}

// Runs the full cache alone, on as many samples as it takes to see. The part's tasks that it cannot
// do.
Result<std::vector<std::string>> Study::hard_tasks(EvalSession& opened, const StudyPart& part) {
  StudyPart alone = part;
  alone.variants.resize(1);
  std::string names;
  for (const std::size_t samples : {std::min(kAbilitySamples, part.samples), part.samples}) {
    alone.samples = samples;
    RESTKV_TRY(run_part(opened, alone));
    names.clear();
    if (leads(ranks_)) {
      RESTKV_ASSIGN(const std::vector<EvalRow> rows, stored_rows(part.file_ending));
      if (samples < part.samples && !ability_is_clear(rows, opened.settings.fingerprint)) {
        names = kUnclear;
      } else {
        for (const auto& [suite, score] : suites_too_hard(rows, opened.settings.fingerprint)) {
          names += suite + "/ ";
        }
      }
    }
    names = agreed(std::move(names), ranks_);
    if (names != kUnclear) break;
  }
  std::vector<std::string> hard;
  for (const std::string& task : part.tasks) {
    if (names.find(task.substr(0, task.find('/')) + "/") != std::string::npos) {
      hard.push_back(task);
    }
  }
  return hard;
}

// The table that was given for the user's own model, the one beside the model, or one that is
// measured now and kept in the study's folder.
Result<std::string> Study::block_table(EvalSession& opened, bool is_users) const {
  if (is_users && !options_.block_table.empty()) return options_.block_table;
  const std::string& model = opened.session.engine->model().path;
  // Each rank may look into folders of its own machine: rank 0 says which file it is.
  std::string beside = model + ".blocks.json";
  beside = agreed(std::filesystem::exists(beside) ? beside : "", ranks_);
  if (!beside.empty()) return beside;
  // Models of one name may follow each other in a folder.
  const std::string path = options_.folder + "/" + opened.settings.model + "." +
                           opened.settings.fingerprint.substr(0, 8) + ".blocks.json";
  if (leads(ranks_) && !std::filesystem::exists(path)) {
    const TaskRequest& request = opened.settings.request;
    const std::string squad = has_squad(request) ? squad_path(request).value() : "";
    const bool small = options_.scale == "trial" || options_.scale == "small";
    CalibrationJob job{.text_file = squad, .output = path, .calibration = {}};
    RESTKV_ASSIGN(job.calibration.decode,
                  parse_decode_flags({.method = "ab-sparse", .budget = {}, .table = {}}));
    job.calibration.passages = small ? 12 : 40;
    job.calibration.held_back = small ? 4 : 10;
    const auto made = calibrate_to_file(opened.session, job, interrupt_);
    if (!made.ok() && made.error().code != ErrorCode::kInvalidArgument) return made.error();
    if (!made.ok()) say("restkv: ab-sparse without a table of its own: " + made.error().message);
  }
  return agreed(std::filesystem::exists(path) ? path : "", ranks_);
}

// Gives the parts that are too hard for the model, with their hard tasks only.
Result<std::vector<StudyPart>> Study::run_on(std::string_view model, std::vector<StudyPart> parts,
                                             bool hard_ones_go_on) {
  EvalOptions eval = options_.eval;
  if (!model.empty()) eval.common.model = model;
  RESTKV_ASSIGN(EvalSession opened, open_evaluation(eval, interrupt_.flag()));
  RESTKV_ASSIGN(const std::string table, block_table(opened, model.empty()));
  std::vector<StudyPart> harder;
  for (StudyPart& part : parts) {
    if (part.is_about_template && options_.eval.form == PromptForm::kPlain) continue;
    const StudyPart without_table = part;
    if (!table.empty()) RESTKV_TRY(use_block_table(part.variants, table));
    if (part.may_be_too_hard) {
      RESTKV_ASSIGN(const std::vector<std::string> hard, hard_tasks(opened, part));
      if (hard_ones_go_on && !hard.empty()) {
        harder.push_back(without_table);  // its table is this model's
        harder.back().tasks = hard;
      }
      std::erase_if(part.tasks, [&hard](const std::string& task) {
        return std::ranges::find(hard, task) != hard.end();
      });
    }
    if (!part.tasks.empty()) RESTKV_TRY(run_part(opened, part));
    if (part.meets_ab_sparse) RESTKV_TRY(run_equal_bytes(opened, part));
  }
  return harder;
}

// Leaves the prompts that all methods have answered, and sums them up. How many others there were.
// Rows as without_repeats() leaves them.
Result<std::size_t> keep_common_prompts(ReportData& data) {
  CommonRows common = of_common_prompts(std::move(data.rows));
  data.rows = std::move(common.rows);
  RESTKV_ASSIGN(data.summary, summarise(data.rows, {}));
  return common.left_out;
}

// Nothing where there are no rows.
Result<std::optional<ReportData>> Study::data_apart(std::string_view file_ending) const {
  if (!std::filesystem::exists(database(file_ending))) return std::optional<ReportData>();
  auto data = read_rows(database(file_ending));
  // It may have been made and not written to yet.
  if (!data.ok() && data.error().code == ErrorCode::kNotFound) return std::optional<ReportData>();
  if (!data.ok()) return data.error();
  data->rows = without_repeats(std::move(data->rows));
  // Budgets differ from length to length there, so no prompt has them all.
  if (file_ending != kEqualBytesRows) {
    RESTKV_TRY(keep_common_prompts(*data));
  } else {
    RESTKV_ASSIGN(data->summary, summarise(data->rows, {}));
  }
  return std::optional(*std::move(data));
}

Result<int> Study::write() const {
  const auto path = [this](const std::string& name) { return options_.folder + "/" + name; };
  StudyResults results;
  RESTKV_ASSIGN(results.prompts, read_rows(database()));
  results.prompts.rows = without_repeats(std::move(results.prompts.rows));
  results.full = full_scores(results.prompts.rows);
  RESTKV_ASSIGN(results.left_out, keep_common_prompts(results.prompts));
  results.prompts.title += ", prompts that every method has answered";
  RESTKV_ASSIGN(const std::optional<ReportData> before_tail, data_apart(kBeforeTailRows));
  RESTKV_ASSIGN(const std::optional<ReportData> plain, data_apart(kPlainRows));
  RESTKV_ASSIGN(const std::optional<ReportData> equal_bytes, data_apart(kEqualBytesRows));
  if (before_tail) results.before_tail = &*before_tail;
  if (plain) results.plain = &*plain;
  if (equal_bytes) results.equal_bytes = &*equal_bytes;
  results.command = command_of(options_);
  for (const auto& [name, picture] : study_pictures(results.prompts)) {
    RESTKV_TRY(write_text_file(path(name), picture));
  }
  RESTKV_TRY(write_text_file(path("study.md"), study_markdown(results)));
  RESTKV_TRY(write_text_file(path(std::string(kStudyFigures)), study_figures_markdown(results)));
  RESTKV_TRY(write_text_file(path("study.html"), report_html(results.prompts)));
  std::printf("%zu rows are compared; written: %s, %s\n", results.prompts.rows.size(),
              path("study.md").c_str(), path("study.html").c_str());
  return 0;
}

Result<int> Study::run(const std::vector<StudyPart>& parts) {
  std::error_code failed;
  std::filesystem::create_directories(options_.folder, failed);
  if (failed) return Error{ErrorCode::kIo, options_.folder + ": " + failed.message()};
  const bool strong = options_.strong_model != kNoModel;
  if (options_.only_write) return leads(ranks_) ? write() : 0;
  RESTKV_ASSIGN(const std::vector<StudyPart> harder, run_on("", parts, strong));
  if (!harder.empty()) {
    const auto done = run_on(options_.strong_model, harder, false);
    if (!done.ok()) {
      // One rank cannot go on without the others, who wait for it.
      if (done.error().code == ErrorCode::kCancelled || ranks_ != nullptr) return done.error();
      say("restkv: too hard for this model, and " + options_.strong_model +
          " cannot take it: " + done.error().message);
    }
  }
  if (!leads(ranks_)) return 0;
  return write();
}

}  // namespace

int study_command(Arguments args) {
  StudyOptions options;
  options.eval.database.clear();
  FlagSet flags(kUsage);
  add_sample_flags(flags, options.eval);
  for (const char* name : {"--samples", "--db"}) flags.remove(name);
  flags.begin_section("study");
  flags.add_text({"--scale"}, "NAME", listed(study_scales(), std::identity()) + " (small)",
                 &options.scale);
  flags.add_integer({"--arithmetic-samples"}, "of GSM8K and of MultiArith (as the scale has)", 1,
                    1 << 30, [&options](long long n) {
                      options.amounts.arithmetic_samples = static_cast<std::size_t>(n);
                    });
  flags.add_integer(
      {"--ruler-samples"}, "of each task, length and seed of RULER (as the scale has)", 1, 1 << 30,
      [&options](long long n) { options.amounts.ruler_samples = static_cast<std::size_t>(n); });
  flags.add_integer(
      {"--ruler-seeds"}, "of RULER's samples, from --seed on: their variance is told (1)", 1, 1000,
      [&options](long long n) { options.amounts.ruler_seeds = static_cast<std::size_t>(n); });
  flags.add_text({"-o", "--output"}, "DIR", "folder of the results (study)", &options.folder);
  flags.add_text({"--db"}, "FILE", "SQLite file, made or gone on with (DIR/study.db)",
                 &options.eval.database);
  flags.add_text(
      {"--strong-model"}, "FNAME",
      "takes tasks that are too hard for the model, or none (" + std::string(kStrongModel) + ")",
      &options.strong_model);
  flags.add_text({"--decode-table"}, "FNAME",
                 "block sizes of ab-sparse (default: those beside the model, or measured first)",
                 &options.block_table);
  flags.add_switch({"--only-write"}, "run nothing: write what the results so far say",
                   [&options] { options.only_write = true; });
  add_model_flags(flags, options.eval.common);
  if (const auto status = read_flags(flags, args, options.eval.common.show_help)) return *status;
  if (auto checked = check_eval_options(options.eval); !checked.ok()) {
    return report_usage(checked.error());
  }
  options.amounts.ruler_lengths = options.eval.lengths;
  auto parts = study_parts(options.scale, options.amounts);
  if (!parts.ok()) return report_usage(parts.error());
  for (StudyPart& part : *parts) {
    for (EvalVariant& variant : part.variants) {
      variant.kv.seed = options.eval.seed;
      variant.sample_seed = options.eval.seed;
    }
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  const auto ranks = join_ranks();
  if (!ranks.ok()) return report_error(ranks.error());
  return end_command(Study(options, interrupt, ranks->get()).run(*parts), ranks->get());
}

}  // namespace restkv
