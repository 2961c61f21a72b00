// `restkv bench`: how fast prompts are read and tokens are written, at which depth, with which
// cache, and how much memory that takes; in the manner of llama-bench.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <thread>

#include "base/threads.h"
#include "cli/bench_options.h"
#include "cli/bench_output.h"
#include "cli/bench_row.h"
#include "cli/bench_run.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/pull.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv bench [-m MODEL,...] [-p N,...] [-n N,...] [-d N,...] [options]\n\n"
    "Tokens per second and bytes, one row for each combination of what is given as a list.\n"
    "Lists of numbers: 512,2048 or 1-4 or 1-9+2 or 8-64*2.";

// One thread, all, and every number of threads that was asked for.
Result<std::map<int, MachineSpeed>> measure_machines(const std::vector<long long>& threads,
                                                     const std::atomic<bool>& cancel) {
  std::map<int, MachineSpeed> machines;
  std::vector<int> counts = {1, Threads(0).count()};
  for (const long long n : threads) counts.push_back(Threads(static_cast<int>(n)).count());
  for (const int n_threads : counts) {
    if (machines.contains(n_threads)) continue;
    RESTKV_ASSIGN(MachineSpeed speed, measure_machine(n_threads, cancel));
    machines.emplace(speed.n_threads, std::move(speed));
  }
  return machines;
}

// What all rows were asked for beside the lists, where it is not the usual.
std::vector<std::string_view> unusual_fields(const BenchOptions& options) {
  const EngineOptions& engine = options.common.engine;
  const KvOptions& kv = options.common.kv;
  const EngineOptions usual;
  const KvOptions usual_kv;
  std::vector<std::string_view> fields;
  const auto show_if = [&](bool unusual, std::string_view name) {
    if (unusual) fields.push_back(name);
  };
  show_if(engine.products != usual.products || engine.order != usual.order, "products");
  show_if(engine.hidden_type != usual.hidden_type, "hidden_type");
  show_if(engine.weights != usual.weights, "use_mmap");
  show_if(kv.schedule.kind != usual_kv.schedule.kind, "kv_schedule");
  show_if(kv.group_score != usual_kv.group_score, "kv_group");
  show_if(kv.window != usual_kv.window, "kv_window");
  show_if(kv.sinks != usual_kv.sinks, "kv_sink");
  show_if(kv.protect != usual_kv.protect, "kv_protect");
  show_if(!options.common.decode.table.empty(), "decode_table");
  show_if(kv.seed != usual_kv.seed, "seed");
  return fields;
}

BenchColumns columns_of(const BenchOptions& options, const std::vector<std::string>& model_paths,
                        const std::vector<BenchCase>& cases) {
  const auto given = [](const auto& list) { return !list.empty(); };
  BenchColumns columns{.file = model_paths.size() > 1,
                       .batch = given(options.batches),
                       .types = given(options.types_k) || given(options.types_v),
                       .allocator = options.common.allocators != "uniform",
                       .granularity = options.common.kv.granularity != Granularity::kKvHead,
                       .prefill = given(options.prefills),
                       .decode = options.common.decode.method != "dense",
                       .fill = options.fill == BenchFill::kSynthetic,
                       .limit = options.machine,
                       .fields = unusual_fields(options)};
  for (const std::string& path : model_paths) {
    const std::size_t width = std::filesystem::path(path).filename().string().size();
    columns.file_width = std::max(columns.file_width, width);
  }
  for (const BenchCase& test : cases) {
    columns.policy_width = std::max(columns.policy_width, policy_text(test.kv).size());
    columns.prefill_width = std::max(columns.prefill_width, prefill_text(test.prefill).size());
    columns.decode_width = std::max(columns.decode_width, decode_text(test.kv).size());
    columns.allocator_width = std::max(columns.allocator_width, allocator_text(test.kv).size());
  }
  return columns;
}

Result<void> print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return Error{ErrorCode::kIo, "standard output cannot be written"};
}

void wait(long long seconds, const std::atomic<bool>& cancel) {
  for (long long i = 0; i < seconds * 20 && !cancel.load(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<void> print_rows(BenchRunner& runner, BenchWriter& writer, const BenchOptions& options,
                        const std::vector<std::string>& model_paths,
                        const std::vector<BenchCase>& cases, const std::atomic<bool>& cancel) {
  for (const std::string& path : model_paths) {
    runner.take_model(path);
    for (const BenchCase& test : cases) {
      wait(options.delay_s, cancel);
      RESTKV_ASSIGN(const BenchRow row, runner.measure(test));
      RESTKV_TRY(print(writer.row(row)));
    }
  }
  return {};
}

// All of them, before the first is measured.
Result<std::vector<std::string>> resolve_models(const std::vector<std::string>& wanted,
                                                const std::atomic<bool>& cancel) {
  const auto progress = make_progress(stderr);
  PullOptions pull;
  pull.progress = progress.get();
  pull.cancel = &cancel;
  std::vector<std::string> paths;
  for (const std::string& name : wanted) {
    RESTKV_ASSIGN(std::string path, resolve_model(name, pull));
    paths.push_back(std::move(path));
  }
  return paths;
}

Result<int> measure(const BenchOptions& options, const std::vector<BenchCase>& cases,
                    const InterruptGuard& interrupt) {
  std::vector<std::string> models = options.models;
  if (models.empty()) models.emplace_back(kDefaultModel);
  std::vector<std::string> model_paths;
  if (!cases.empty()) {
    RESTKV_ASSIGN(model_paths, resolve_models(models, interrupt.flag()));
  }
  std::map<int, MachineSpeed> machines;
  if (options.machine) {
    RESTKV_ASSIGN(machines, measure_machines(options.threads, interrupt.flag()));
    // For a program the figures stand in the rows.
    std::FILE* const out = options.format == BenchFormat::kMarkdown ? stdout : stderr;
    for (const auto& [n_threads, speed] : machines) {
      std::fprintf(out, "%s\n", machine_line(speed).c_str());
    }
    if (!cases.empty()) std::fputs("\n", out);
  }
  const auto writer = BenchWriter::make(options.format, columns_of(options, model_paths, cases));
  BenchRunner runner(options, machines, interrupt.flag());
  RESTKV_TRY(print(writer->begin()));
  const auto measured = print_rows(runner, *writer, options, model_paths, cases, interrupt.flag());
  RESTKV_TRY(print(writer->end()));  // also after a failure: what was printed stays readable
  if (!measured.ok()) return measured.error();
  return 0;
}

}  // namespace

int bench_command(Arguments args) {
  BenchOptions options;
  FlagSet flags(kUsage);
  add_bench_flags(flags, options);
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  auto cases = bench_cases(options);
  if (!cases.ok()) return report_usage(cases.error());
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = measure(options, *cases, interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
