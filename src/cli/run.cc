// `restkv run`: one question about one text, answered under one method - or under several, from one
// shared prefill.

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/questions.h"
#include "cli/session.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv run [-m MODEL] [-f FILE] [-p QUESTION] [options]\n\n"
    "Reads a prompt, keeps what the method chooses of its key-value cache, and answers.";

struct RunOptions {
  CommonOptions common;
  PromptOptions prompt;
  GenerationOptions generation;
  QueryMode mode = QueryMode::kAware;
  bool json = false;
  bool show_kept = false;
};

Result<void> check_together(const RunOptions& options, std::size_t n_variants) {
  const auto wrong = [](std::string message) {
    return Error{ErrorCode::kInvalidArgument, std::move(message)};
  };
  if (options.prompt.file.empty() && options.prompt.prompt.empty()) {
    return wrong("there is nothing to read: give -p, or -f, or both");
  }
  const std::vector<std::string>& questions = options.prompt.prompts;
  if (options.mode == QueryMode::kAgnostic &&
      (options.prompt.file.empty() || questions.empty() ||
       std::ranges::find(questions, "") != questions.end())) {
    return wrong("--kv-mode agnostic reads the text of -f before the question of -p: give both");
  }
  if (options.mode == QueryMode::kAware && questions.size() > 1) {
    return wrong("several -p need --kv-mode agnostic, which asks them about one compressed text");
  }
  if (options.prompt.raw && !options.prompt.system_prompt.empty()) {
    return wrong("--raw has no place for -sys: there is no template");
  }
  if (options.prompt.raw && !options.prompt.chat_template.empty()) {
    return wrong("--raw and --chat-template exclude each other");
  }
  if (n_variants > 1 && !options.json) {
    return wrong("several policies, budgets or allocators need --json");
  }
  if (options.show_kept && !options.json) return wrong("--kv-kept needs --json");
  return {};
}

// One run of the command: everything that stays the same from answer to answer.
class Answers {
 public:
  // sampling: what the sampler was made of.
  Answers(const RunOptions& options, Session session, PromptParts parts, Sampler sampler,
          SamplerOptions sampling, const InterruptGuard& interrupt)
      : options_(options),
        session_(std::move(session)),
        parts_(std::move(parts)),
        sampler_(std::move(sampler)),
        sampling_(std::move(sampling)),
        interrupt_(interrupt),
        progress_(make_progress(stderr)) {}

  // Up to the first failure.
  Result<void> run_all(std::span<const KvOptions> variants);
  // Of all runs together that have ended: an object, or an array where several were asked for.
  void print_json(bool is_array) const;

 private:
  // What was read for an answer, in one part or two.
  struct Read {
    Sequence sequence;
    std::vector<float> logits;
    PrefillTimings timings;
    KvReport report;  // of the text
    std::size_t tokens = 0;
  };
  // Reads the text once for all variants, then answers from every sequence in turn, so that each
  // one's speed is its own.
  Result<void> run(std::span<const KvOptions> variants);
  Result<void> ask(const Read& text, std::size_t question);
  Result<void> answer(Read read, std::optional<std::size_t> question);

  const RunOptions& options_;
  Session session_;
  PromptParts parts_;
  Sampler sampler_;
  SamplerOptions sampling_;
  const InterruptGuard& interrupt_;
  std::unique_ptr<Progress> progress_;
  nlohmann::ordered_json answers_ = nlohmann::ordered_json::array();
};

Result<void> Answers::run_all(std::span<const KvOptions> variants) {
  // A prefill in pieces depends on what is dropped: each variant has its own.
  const bool shared = options_.common.kv.schedule.kind != Schedule::Kind::kChunk;
  const std::size_t together = shared ? variants.size() : 1;
  for (std::size_t first = 0; first < variants.size(); first += together) {
    RESTKV_TRY(run(variants.subspan(first, together)));
  }
  return {};
}

Result<void> Answers::run(std::span<const KvOptions> variants) {
  std::vector<float> logits;
  RESTKV_ASSIGN(
      std::vector<Sequence> sequences,
      session_.engine->prefill(parts_.text, variants,
                               watched_prefill(progress_.get(), interrupt_.flag(),
                                               parts_.text.size(), options_.common.prefill),
                               logits));
  const PrefillTimings timings = session_.engine->last_prefill();
  while (!sequences.empty()) {
    Read read{.sequence = std::move(sequences.front()),
              .logits = logits,
              .timings = timings,
              .report = {},
              .tokens = parts_.text.size()};
    read.report = read.sequence.report();
    sequences.erase(sequences.begin());
    for (std::size_t q = 0; q < parts_.questions.size(); ++q) RESTKV_TRY(ask(read, q));
    if (parts_.questions.empty()) RESTKV_TRY(answer(std::move(read), std::nullopt));
  }
  return {};
}

// Reads one question on a fork of what was kept of the text.
Result<void> Answers::ask(const Read& text, std::size_t question) {
  const std::vector<Token>& tokens = parts_.questions[question];
  Read read{.sequence = text.sequence.fork(),
            .logits = {},
            .timings = text.timings,
            .report = text.report,
            .tokens = text.tokens + tokens.size()};
  RESTKV_TRY(session_.engine->extend(
      read.sequence, tokens,
      watched_prefill(progress_.get(), interrupt_.flag(), tokens.size(), options_.common.prefill),
      read.logits));
  read.timings.total_ms += session_.engine->last_prefill().total_ms;
  read.timings.compress_ms += session_.engine->last_prefill().compress_ms;
  return answer(std::move(read), question);
}

Result<void> Answers::answer(Read read, std::optional<std::size_t> question) {
  nlohmann::ordered_json kept;
  if (options_.show_kept) kept = kept_json(read.sequence.kept_positions());
  Sampler own_sampler = sampler_.clone();
  own_sampler.accept(parts_.text);
  if (question) own_sampler.accept(parts_.questions[*question]);
  GenerationRequest request{.n_predict = options_.generation.n_predict,
                            .context = session_.context,
                            .cancel = &interrupt_.flag(),
                            .on_text = {}};
  if (!options_.json) request.on_text = print_text;
  RESTKV_ASSIGN(const Generation generated,
                generate(*session_.engine, *session_.vocabulary, read.sequence, own_sampler,
                         read.logits, request));
  KvReport report = read.sequence.report();
  if (question) {
    report.add_earlier(read.report);
  }
  const AnswerTimings timings = answer_timings(read.tokens, read.timings, report, generated);
  if (!options_.json) {
    std::printf("\n");
    std::fflush(stdout);
    std::fprintf(
        stderr, "\n%s",
        (report_text(report, timings, generated.stop, options_.mode) + sampling_text(sampling_))
            .c_str());
    return {};
  }
  answers_.push_back(answer_json(*session_.engine, generated, report, timings));
  answers_.back()["sampling"] = sampling_json(sampling_);
  answers_.back()["mode"] = query_mode_name(options_.mode);
  if (question) answers_.back()["question"] = options_.prompt.prompts[*question];
  if (options_.show_kept) answers_.back()["kept"] = std::move(kept);
  return {};
}

void Answers::print_json(bool is_array) const {
  if (answers_.empty()) return;
  const nlohmann::ordered_json& printed = is_array ? answers_ : answers_.front();
  const std::string text =
      printed.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

Result<int> answer_all(const RunOptions& options, const std::vector<KvOptions>& variants,
                       const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::string document, document_text(options.prompt));
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  RESTKV_ASSIGN(PromptParts parts, prompt_parts(session, options.prompt, document, options.mode));
  SamplerOptions sampling = sampler_options(options.generation, session);
  RESTKV_ASSIGN(Sampler sampler, Sampler::make(sampling, session.vocabulary->size()));
  const bool is_array = variants.size() * std::max<std::size_t>(parts.questions.size(), 1) > 1;
  Answers answers(options, std::move(session), std::move(parts), std::move(sampler),
                  std::move(sampling), interrupt);
  const auto done = answers.run_all(variants);
  if (options.json) answers.print_json(is_array);  // what was answered before a failure is not lost
  if (!done.ok()) return done.error();
  return interrupt.interrupted() ? kExitInterrupted : 0;
}

}  // namespace

int run_command(Arguments args) {
  RunOptions options;
  FlagSet flags(kUsage);
  add_prompt_flags(flags, options.prompt);
  add_generation_flags(flags, options.generation, options.common);
  add_kv_flags(flags, options.common);
  flags.add({.names = {"--kv-mode"},
             .value_name = "NAME",
             .help = "aware: the question is read before rows are dropped; agnostic: the rows of "
                     "the text of -f are dropped first, and any number of -p may ask (aware)",
             .environment = "RESTKV_ARG_KV_MODE",
             .set = [&options](std::string_view name) -> Result<void> {
               RESTKV_ASSIGN(options.mode, parse_query_mode(name));
               return {};
             }});
  flags.begin_section("output");
  flags.add_switch({"--json"}, "print one JSON object (an array for several variants)",
                   [&options] { options.json = true; });
  flags.add_switch({"--kv-kept"}, "with --json: the kept positions per layer and head",
                   [&options] { options.show_kept = true; });
  add_model_flags(flags, options.common);
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  auto variants = expand_variants(options.common);
  if (!variants.ok()) return report_usage(variants.error());
  if (auto fits = check_together(options, variants->size()); !fits.ok()) {
    return report_usage(fits.error());
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = answer_all(options, *variants, interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
