// `restkv demo`: one long prompt, one shared prefill, then each method answers the same question
// from its own cache.

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
#include "cli/session.h"

namespace restkv {
namespace {

constexpr std::size_t kEntries = 134;  // about 4000 tokens
constexpr std::uint64_t kSeed = 7;
constexpr long long kAnswerTokens = 32;

std::string first_line(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  constexpr std::size_t kWidth = 44;
  if (line.size() > kWidth) line = line.substr(0, kWidth - 3) + "...";
  return line;
}

Result<int> show(const CommonOptions& common, const std::vector<KvOptions>& variants,
                 const InterruptGuard& interrupt) {
  const DemoText demo = make_demo_text(kEntries, kSeed);
  RESTKV_ASSIGN(Session session, Session::open(common, interrupt.flag()));
  RESTKV_ASSIGN(const std::vector<Token> tokens,
                session.first_prompt(
                    {}, demo.document + "\n" + demo.question + " Answer with the number only."));
  GenerationOptions generation;
  generation.sampling.temperature = 0;
  RESTKV_ASSIGN(const Sampler sampler,
                Sampler::make(sampler_options(generation, session), session.vocabulary->size()));
  std::printf("model     %s, %d threads, kernels %s\n", session.engine->model().name.c_str(),
              session.engine->threads(), std::string(session.engine->kernels()).c_str());
  std::printf("prompt    %zu tokens: a harbour's logbook; the fact stands at two fifths of it\n",
              tokens.size());
  std::printf("question  %s\n", demo.question.c_str());
  const std::string mode(query_mode_name(QueryMode::kAware));  // it is part of what is read
  std::printf("schedule  %s\nmode      %s\n",
              schedule_text(variants.back().policy, common.kv.schedule.text()).c_str(),
              mode.c_str());
  std::fflush(stdout);

  const auto progress = make_progress(stderr);
  std::vector<float> prompt_logits;
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                session.engine->prefill(tokens, variants,
                                        watched_prefill(progress.get(), interrupt.flag(),
                                                        tokens.size(), common.prefill),
                                        prompt_logits));
  const double seconds = session.engine->last_prefill().total_ms / 1000.0;
  std::printf("prefill   %.1f s, %.1f tokens/s, shared by all methods\n\n", seconds,
              static_cast<double>(tokens.size()) / seconds);
  std::printf("%-14s %6s %-44s %-6s %9s %10s %9s\n", "method", "kept", "answer", "right", "KV MiB",
              "peak MiB", "tokens/s");
  constexpr double kMiB = 1024.0 * 1024.0;
  while (!sequences.empty()) {
    Sequence sequence = std::move(sequences.front());
    sequences.erase(sequences.begin());
    Sampler own = sampler.clone();
    std::vector<float> logits = prompt_logits;
    const KvReport report = sequence.report();
    RESTKV_ASSIGN(const Generation generated,
                  generate(*session.engine, *session.vocabulary, sequence, own, logits,
                           {.n_predict = kAnswerTokens,
                            .context = session.context,
                            .cancel = &interrupt.flag(),
                            .on_text = {}}));
    const AnswerTimings timings =
        answer_timings(tokens.size(), session.engine->last_prefill(), report, generated);
    const bool right = generated.text.find(demo.answer) != std::string::npos;
    std::printf("%-14s %6.0f %-44s %-6s %9.1f %10.1f %9.1f\n", report.policy.c_str(),
                report.kept_tokens_mean, first_line(generated.text).c_str(), right ? "yes" : "no",
                static_cast<double>(report.bytes) / kMiB,
                static_cast<double>(report.bytes_peak) / kMiB, timings.predicted_per_second);
    std::fflush(stdout);
    if (interrupt.interrupted()) return kExitInterrupted;
  }
  return 0;
}

}  // namespace

int demo_command(Arguments args) {
  CommonOptions options;
  options.policies = "full,rest-kv,snapkv,streaming-llm";
  options.budgets = "128";
  FlagSet flags(
      "usage: restkv demo [-m MODEL] [options]\n\n"
      "A long text with a hidden fact: the full cache against methods that keep 128 tokens of it.");
  add_kv_flags(flags, options);
  add_model_flags(flags, options);
  if (const auto status = read_flags(flags, args, options.show_help)) return *status;
  auto variants = expand_variants(options);
  if (!variants.ok()) return report_usage(variants.error());
  if (options.kv.schedule.kind == Schedule::Kind::kChunk) {
    return report_usage({ErrorCode::kInvalidArgument,
                         "the demo reads its prompt once for all methods: --kv-schedule " +
                             options.kv.schedule.text() + " reads it in pieces, for each anew"});
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = show(options, *variants, interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
