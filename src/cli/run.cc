// `restkv run`: one question about one text, answered under one method - or under several, from one
// shared prefill.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
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

// Answers from every sequence in turn, so that each one's speed is its own.
Result<int> answer(const RunOptions& options, GenerationOptions generation,
                   const std::vector<KvOptions>& variants, const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::string user, user_message(options.prompt));
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  RESTKV_ASSIGN(const std::vector<Token> tokens, session.first_prompt(options.prompt, user));
  RESTKV_ASSIGN(const Sampler sampler, make_sampler(generation, *session.vocabulary));

  const auto progress = make_progress(stderr);
  std::vector<float> prompt_logits;
  RESTKV_ASSIGN(
      std::vector<Sequence> sequences,
      session.engine->prefill(tokens, variants,
                              watched_prefill(progress.get(), interrupt.flag(), tokens.size()),
                              prompt_logits));
  nlohmann::ordered_json answers = nlohmann::ordered_json::array();
  while (!sequences.empty()) {
    Sequence sequence = std::move(sequences.front());
    sequences.erase(sequences.begin());
    nlohmann::ordered_json kept;
    if (options.show_kept) kept = kept_json(sequence.kept_positions());
    Sampler own_sampler = sampler.clone();
    std::vector<float> logits = prompt_logits;
    GenerationRequest request{.n_predict = generation.n_predict,
                              .context = session.context,
                              .cancel = &interrupt.flag(),
                              .on_text = {}};
    if (!options.json) {
      request.on_text = print_text;
    }
    RESTKV_ASSIGN(const Generation generated, generate(*session.engine, *session.vocabulary,
                                                       sequence, own_sampler, logits, request));
    const KvReport report = sequence.report();
    const AnswerTimings timings =
        answer_timings(tokens.size(), session.engine->last_prefill(), report, generated);
    if (options.json) {
      answers.push_back(answer_json(*session.engine, generated, report, timings));
      if (options.show_kept) answers.back()["kept"] = std::move(kept);
    } else {
      std::printf("\n");
      std::fflush(stdout);
      std::fprintf(stderr, "\n%s", report_text(report, timings, generated.stop).c_str());
    }
  }
  if (options.json) {
    const nlohmann::ordered_json& printed = variants.size() == 1 ? answers.front() : answers;
    const std::string text =
        printed.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return interrupt.interrupted() ? kExitInterrupted : 0;
}

}  // namespace

int run_command(Arguments args) {
  RunOptions options;
  FlagSet flags(kUsage);
  add_prompt_flags(flags, options.prompt);
  add_generation_flags(flags, options.generation, options.common);
  add_kv_flags(flags, options.common);
  flags.begin_section("output");
  flags.add_switch({"--json"}, "print one JSON object (an array for several variants)",
                   [&options] { options.json = true; });
  flags.add_switch({"--kv-kept"}, "with --json: the kept positions per layer and head",
                   [&options] { options.show_kept = true; });
  add_model_flags(flags, options.common);
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (options.common.show_help) {
    std::fputs(flags.help().c_str(), stdout);
    return 0;
  }
  auto variants = expand_variants(options.common);
  if (!variants.ok()) return report_usage(variants.error());
  if (auto fits = check_together(options, variants->size()); !fits.ok()) {
    return report_usage(fits.error());
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = answer(options, options.generation, *variants, interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
