// What do schedules that drop rows while an answer is written cost the answer? The model copies the
// first days of a made-up logbook, which takes some 30 tokens a day; a day counts when one line of
// the answer has its number, ship, load and cargo. One prefill feeds all variants, and they decode
// greedily as one batch.
//
//   bench_long_answers [-m MODEL] [--kv-policy LIST] [--kv-budget LIST] [--schedules LIST]
//
// Prints a table.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/demo_text.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/questions.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "common.h"
#include "eval/decode_answers.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

struct LongAnswerOptions {
  CommonOptions common;
  std::string schedules = "once,every:32,cap";
  long long entries = 30;  // of the logbook
  long long days = 14;     // that are to be copied
  long long prompts = 5;
  long long tokens = 480;  // of an answer
};

// A variant and what became of its answers.
struct Row {
  KvOptions variant;
  std::size_t right = 0;  // days
  std::size_t tokens = 0;
  std::size_t looping = 0;  // answers
  std::size_t peak_rows = 0;
};

Result<std::vector<Row>> rows_of(const LongAnswerOptions& options) {
  std::vector<Row> rows;
  for (const std::string& schedule : split_list(options.schedules)) {
    CommonOptions common = options.common;
    RESTKV_ASSIGN(common.kv.schedule, Schedule::parse(schedule));
    if (common.kv.schedule.kind == Schedule::Kind::kChunk) {
      return Error{ErrorCode::kInvalidArgument, "prompts are not read in pieces here"};
    }
    RESTKV_ASSIGN(const std::vector<KvOptions> variants, expand_variants(common));
    for (const KvOptions& variant : variants) {
      // The full cache is the same under every schedule.
      const bool again = find_policy(variant.policy)->keeps_all && !rows.empty();
      if (!again) rows.push_back({.variant = variant});
    }
  }
  return rows;
}

// The entries of the logbook, without its title.
std::vector<std::string> entries_of(const std::string& logbook) {
  std::vector<std::string> entries;
  for (const std::string& line : split_list(logbook, '\n')) {
    if (line.starts_with("Day ")) entries.push_back(line);
  }
  return entries;
}

// What is asked of "Day 7: fog. The Ilse came in with 3 loads of wool. A lantern was replaced.":
// its number, and "Ilse came in with 3 loads of wool", which no other day has.
bool tells(const std::string& line, std::size_t day, const std::string& entry) {
  const std::size_t ship = entry.find(". The ") + 6;
  const std::string cargo = entry.substr(ship, entry.find('.', ship) - ship);
  const bool numbered = line.find("Day " + std::to_string(day) + ":") != std::string::npos;
  return numbered && line.find(cargo) != std::string::npos;
}

// How many of the first `days` entries a line of the answer tells.
std::size_t right_days(const std::string& answer, const std::vector<std::string>& entries,
                       std::size_t days) {
  const std::vector<std::string> lines = split_list(answer, '\n');
  std::size_t right = 0;
  for (std::size_t i = 0; i < days; ++i) {
    const auto told = [&](const std::string& line) { return tells(line, i + 1, entries[i]); };
    if (std::ranges::any_of(lines, told)) ++right;
  }
  return right;
}

class LongAnswers {
 public:
  LongAnswers(Session session, const LongAnswerOptions& options, const InterruptGuard& interrupt)
      : session_(std::move(session)), options_(options), interrupt_(interrupt) {}

  // Adds one prompt's answers to the rows.
  Result<void> ask(std::size_t index, std::vector<Row>& rows);
  [[nodiscard]] const Session& session() const { return session_; }
  [[nodiscard]] std::size_t prompt_tokens() const { return prompt_tokens_; }

 private:
  Session session_;
  LongAnswerOptions options_;
  const InterruptGuard& interrupt_;
  std::size_t prompt_tokens_ = 0;  // of the last prompt
};

Result<void> LongAnswers::ask(std::size_t index, std::vector<Row>& rows) {
  const std::string logbook =
      make_logbook(static_cast<std::size_t>(options_.entries), 300 + index, {});
  const std::string question = "Copy the first " + std::to_string(options_.days) +
                               " days of the logbook, word for word, one line for each day.";
  RESTKV_ASSIGN(const std::vector<Token> prompt,
                session_.first_prompt({}, user_message(logbook, question)));
  prompt_tokens_ = prompt.size();
  std::vector<KvOptions> variants;
  for (const Row& row : rows) variants.push_back(row.variant);
  PrefillOptions prefill;
  prefill.cancel = &interrupt_.flag();
  std::vector<float> logits;
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                session_.engine->prefill(prompt, variants, prefill, logits));
  RESTKV_ASSIGN(const std::vector<Answer> answers,
                decode_answers(*session_.engine, *session_.vocabulary, sequences,
                               {logits.data(), 1, logits.size()},
                               {.stops = {},
                                .min_new_tokens = 0,
                                .max_new_tokens = static_cast<std::size_t>(options_.tokens),
                                .context = static_cast<std::size_t>(session_.context),
                                .cancel = &interrupt_.flag()}));
  const std::vector<std::string> entries = entries_of(logbook);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t right =
        right_days(answers[i].text, entries, static_cast<std::size_t>(options_.days));
    rows[i].right += right;
    rows[i].tokens += answers[i].tokens;
    rows[i].looping += answers[i].looping ? 1 : 0;
    rows[i].peak_rows = std::max(rows[i].peak_rows, sequences[i].report().end_tokens_max);
    std::fprintf(stderr, "%zu %5zu tokens  %-24s %-6s %-9s %2zu days right, %3zu tokens: %s\n",
                 index + 1, prompt.size(), rows[i].variant.policy.c_str(),
                 rows[i].variant.budget.text().c_str(), rows[i].variant.schedule.text().c_str(),
                 right, answers[i].tokens, answers[i].text.substr(0, 60).c_str());
  }
  return {};
}

void print_rows(const std::vector<Row>& rows, const LongAnswerOptions& options) {
  std::printf(
      "| method | budget | schedule | days right of %lld | tokens written, mean | answers that "
      "loop | rows at the end, at most |\n|---|---|---|---|---|---|---|\n",
      options.days * options.prompts);
  for (const Row& row : rows) {
    const bool full = find_policy(row.variant.policy)->keeps_all;
    std::printf("| `%s` | %s | %s | %zu | %.0f | %zu | %zu |\n", row.variant.policy.c_str(),
                full ? "-" : row.variant.budget.text().c_str(),
                full ? "-" : row.variant.schedule.text().c_str(), row.right,
                static_cast<double>(row.tokens) / static_cast<double>(options.prompts), row.looping,
                row.peak_rows);
  }
}

Result<int> measure(const LongAnswerOptions& options, std::vector<Row> rows) {
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  LongAnswers measurement(std::move(session), options, interrupt);
  for (long long i = 0; i < options.prompts; ++i) {
    RESTKV_TRY(measurement.ask(static_cast<std::size_t>(i), rows));
  }
  const Session& used = measurement.session();
  std::printf(
      "%s, %lld prompts of about %zu tokens, mode %s, greedy, %d sinks and a window of %d "
      "protected, kernels %s.\n\n",
      used.engine->model().name.c_str(), options.prompts, measurement.prompt_tokens(),
      std::string(query_mode_name(QueryMode::kAware)).c_str(), options.common.kv.sinks,
      options.common.kv.window, std::string(used.engine->kernels()).c_str());
  print_rows(rows, options);
  return 0;
}

int main_with(Arguments args) {
  LongAnswerOptions options;
  CommonOptions& common = options.common;
  common.policies = "full,rest-kv,snapkv,tova,h2o,streaming-llm";
  common.budgets = "128,256,512";
  FlagSet flags("usage: bench_long_answers [options]");
  add_kv_flags(flags, common);
  for (const std::string_view name : {"--kv-schedule", "--prefill"}) flags.remove(name);
  add_model_flags(flags, common);
  flags.begin_section("measurement");
  flags.add_text({"--schedules"}, "LIST", "once, every:N, cap (once,every:32,cap)",
                 &options.schedules, "");
  flags.add_integer({"--entries"}, "days of the logbook (30)", 1, 1000,
                    [&options](long long v) { options.entries = v; });
  flags.add_integer({"--days"}, "days that are to be copied (14)", 1, 1000,
                    [&options](long long v) { options.days = v; });
  flags.add_integer({"--prompts"}, "prompts (5)", 1, 1000,
                    [&options](long long v) { options.prompts = v; });
  flags.add_integer({"--tokens"}, "tokens of an answer, at most (480)", 1, 1 << 20,
                    [&options](long long v) { options.tokens = v; });
  if (const auto status = read_flags(flags, args, common.show_help)) return *status;
  if (options.days > options.entries) {
    return report_usage({ErrorCode::kInvalidArgument, "--days asks for more than --entries has"});
  }
  auto rows = rows_of(options);
  if (!rows.ok()) return report_usage(rows.error());
  return end_command(measure(options, std::move(*rows)), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
