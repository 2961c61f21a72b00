// `restkv eval`: benchmarks under any number of methods, each prompt read once for all of them.

#include <cstdio>

#include "cli/commands.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv eval TASK... [-m MODEL] [--policies A,B] [--budgets N,P%] [--db FILE] "
    "[options]\n"
    "       restkv eval list\n\n"
    "Runs benchmarks under each combination of the lists. A prompt is read once for all of them.\n"
    "Rows go into the database as they come: the same command again goes on where it stopped.\n"
    "Under mpirun -n R the ranks share the prompts.\n"
    "A TASK is a suite (ruler, longbench, minilongbench, infinitebench, needle, gsm8k,\n"
    "multiarith), a suite with /all, or one task, such as ruler/niah_single_1.";

void print_tasks() {
  for (const TaskInfo* task : all_tasks()) {
    std::printf("%-36s %s%s\n", std::string(task->name).c_str(), std::string(task->summary).c_str(),
                !task->needs_length                  ? ""
                : task->length_optional_if_published ? "; needs --lengths, but as published"
                                                     : "; needs --lengths");
  }
}

Result<int> run(const EvalOptions& options, const std::vector<const TaskInfo*>& tasks,
                const std::vector<EvalVariant>& variants, const InterruptGuard& interrupt,
                Ranks* ranks) {
  RESTKV_ASSIGN(ResultStore store, open_store(options.database, ranks));
  RESTKV_ASSIGN(EvalSession opened, open_evaluation(options, interrupt.flag()));
  RESTKV_ASSIGN(const EvalOutcome outcome,
                evaluate(opened, tasks, variants, store, interrupt.flag(), ranks));
  if (!leads(ranks)) return 0;
  std::printf("%zu rows added to %s, %zu were there; restkv report %s --format md shows them\n",
              outcome.added, options.database.c_str(), outcome.found, options.database.c_str());
  if (outcome.shared_tokens > 0) {
    std::printf(
        "%zu of %zu prompt tokens were not read again: other prompts began with them (about "
        "%.1f s saved)\n",
        outcome.shared_tokens, outcome.tokens, outcome.shared_ms / 1e3);
  }
  return 0;
}

}  // namespace

int eval_command(Arguments args) {
  EvalOptions options;
  options.common.kv.seed = options.seed;
  const std::vector<std::string> names = take_names(args);
  FlagSet flags(kUsage);
  add_variant_flags(flags, options);
  add_sample_flags(flags, options);
  add_model_flags(flags, options.common);
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  if (names == std::vector<std::string>{"list"}) {
    print_tasks();
    return 0;
  }
  if (names.empty()) {
    return report_usage({ErrorCode::kInvalidArgument,
                         "name one task or more before the options; restkv eval list has them"});
  }
  if (auto checked = check_eval_options(options); !checked.ok()) {
    return report_usage(checked.error());
  }
  if (options.database.empty()) {
    return report_usage({ErrorCode::kInvalidArgument, "--db needs the name of a file"});
  }
  const auto tasks = select_tasks(names);
  if (!tasks.ok()) return report_usage(tasks.error());
  const auto variants = eval_variants(options);
  if (!variants.ok()) return report_usage(variants.error());
  print_notices(flags);
  const InterruptGuard interrupt;
  const auto ranks = join_ranks();
  if (!ranks.ok()) return report_error(ranks.error());
  return end_command(run(options, *tasks, *variants, interrupt, ranks->get()), ranks->get());
}

}  // namespace restkv
