// What does each method add to a prefill? Its own time (a replay, scores, counts, compaction), what
// the whole prefill takes beside that of `random`, which looks at nothing, and what the process
// needs at the most beside it. Every method reads the prompt in a process of its own, so that
// nothing is left over from another; `random` comes first and, with --again, last.
//
//   bench_costs [-m MODEL] [-t N] [--tokens N] [--kv-policy LIST] [--kv-budget N]
//
// Prints a table.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/process.h"
#include "cli/bench_row.h"
#include "cli/commands.h"
#include "cli/demo_text.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "common.h"

namespace restkv {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

struct CostOptions {
  CommonOptions common;
  long long tokens = 8192;
  bool again = false;  // measures `random` once more
};

struct Cost {
  std::size_t tokens = 0;
  double prefill_ms = 0;
  double compress_ms = 0;
  double peak_mib = 0;  // of the process
};

Result<Cost> measure(const CostOptions& options, const KvOptions& variant,
                     const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  const auto wanted = static_cast<std::size_t>(options.tokens);
  // An entry has about 30 tokens.
  RESTKV_ASSIGN(
      std::vector<Token> prompt,
      session.vocabulary->tokenize(make_logbook(wanted / 25 + 8, /*seed=*/1, {}),
                                   {.special = SpecialText::kPlain, .bos = Bos::kByModel}));
  prompt.resize(std::min(prompt.size(), wanted));
  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  prefill.attention = options.common.prefill;
  std::vector<float> logits;
  reset_peak_rss();
  KvOptions small = variant;  // what is made once a model is made now
  small.budget = Budget::parse("64").value();
  RESTKV_TRY(session.engine->prefill(std::span(prompt).first(std::min<std::size_t>(wanted, 128)),
                                     {&small, 1}, prefill, logits));
  RESTKV_ASSIGN(const std::vector<Sequence> sequences,
                session.engine->prefill(prompt, {&variant, 1}, prefill, logits));
  const PrefillTimings& timings = session.engine->last_prefill();
  return Cost{.tokens = prompt.size(),
              .prefill_ms = timings.total_ms,
              .compress_ms = timings.compress_ms,
              .peak_mib = static_cast<double>(peak_rss_bytes()) / kMiB};
}

// measure() in a child, which has started no threads yet.
Result<Cost> measure_apart(const CostOptions& options, const KvOptions& variant,
                           const InterruptGuard& interrupt) {
  const Error lost{ErrorCode::kIo, variant.policy + ": the process that measures it failed"};
  int ends[2];
  if (::pipe(ends) != 0) return lost;
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<Cost> cost = measure(options, variant, interrupt);
    if (!cost.ok()) ::_exit(report_error(cost.error()));
    const bool told = ::write(ends[1], &*cost, sizeof(Cost)) == sizeof(Cost);
    ::_exit(told ? 0 : kExitFailed);
  }
  ::close(ends[1]);
  Cost cost;
  const bool told = ::read(ends[0], &cost, sizeof(Cost)) == sizeof(Cost);
  ::close(ends[0]);
  if (child > 0) ::waitpid(child, nullptr, 0);
  if (!told) return lost;
  return cost;
}

void print_row(const std::string& name, const Cost& cost, const Cost& floor) {
  std::printf("| `%s` | %.0f | %.2f | %.0f | %+.1f | %+.1f |\n", name.c_str(), cost.compress_ms,
              cost.compress_ms / cost.prefill_ms * 100, cost.prefill_ms,
              (cost.prefill_ms / floor.prefill_ms - 1) * 100, cost.peak_mib - floor.peak_mib);
  std::fflush(stdout);
}

Result<int> measure_all(const CostOptions& options, const std::vector<KvOptions>& variants) {
  const InterruptGuard interrupt;
  KvOptions random = variants.front();
  random.policy = "random";
  random.policy_options.clear();
  RESTKV_ASSIGN(const Cost floor, measure_apart(options, random, interrupt));
  std::printf(
      "%zu tokens, budget %s\n\n| method | own time, ms | own time, %% of its prefill | prefill, "
      "ms "
      "| prefill beside `random`, %% | peak beside `random`, MiB |\n|---|---|---|---|---|---|\n",
      floor.tokens, variants.front().budget.text().c_str());
  print_row("random", floor, floor);
  for (const KvOptions& variant : variants) {
    RESTKV_ASSIGN(const Cost cost, measure_apart(options, variant, interrupt));
    print_row(policy_text(variant), cost, floor);
  }
  if (!options.again) return 0;
  RESTKV_ASSIGN(const Cost again, measure_apart(options, random, interrupt));
  print_row("random", again, floor);
  return 0;
}

int main_with(Arguments args) {
  CostOptions options;
  CommonOptions& common = options.common;
  common.policies = "rest-kv,snapkv,criticalkv,tova,h2o,streaming-llm,knorm";
  FlagSet flags("usage: bench_costs [options]");
  add_kv_flags(flags, common);
  add_model_flags(flags, common);
  flags.begin_section("measurement");
  flags.add_integer({"--tokens"}, "tokens of the prompt (8192)", 64, 1 << 20,
                    [&options](long long v) { options.tokens = v; });
  flags.add_switch({"--again"}, "measure random once more at the end",
                   [&options] { options.again = true; });
  if (const auto status = read_flags(flags, args, common.show_help)) return *status;
  auto variants = expand_variants(common);
  if (!variants.ok()) return report_usage(variants.error());
  return end_command(measure_all(options, *variants), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
