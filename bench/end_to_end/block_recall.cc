// How much attention do blocks catch that decode picks by their summaries? Over the heads of all
// layers that are read in part: one size for all (32) and a table of sizes for each head
// (`restkv calibrate`), each with summaries of 16, 8 and 4 bits, by the boxes of Quest and ArkVale;
// and the methods quest and arkvale as they are.
// The last 64 queries of each passage choose as in decode. Calibrate on another part of the text.
//
//   bench_block_recall [-m MODEL] -f TEXT --quest-table FILE --arkvale-table FILE [--skip TOKENS]

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/ranks.h"
#include "common.h"
#include "eval/block_table_file.h"
#include "eval/statistics.h"
#include "kernels/kernels.h"
#include "passages.h"
#include "sparse/block_recall.h"

namespace restkv {
namespace {

constexpr std::size_t kQueries = 64;
constexpr std::size_t kUniformRows = 32;
constexpr std::array<const char*, 2> kEstimators = {"quest", "arkvale"};
constexpr std::array<const char*, 3> kSummaries = {"f16", "int8", "int4"};

struct Options {
  PassageOptions text = {.common = {}, .file = {}, .contexts = {4096, 8192}};
  std::array<std::string, kEstimators.size()> tables;
  std::string budgets = "4%,10%";
  std::size_t skip = 0;  // leading tokens of the text that are left out
  std::size_t most_passages = 0;
};

// What was read and found, [passages], each a mean over the heads; and [heads] over the passages.
struct Cell {
  std::vector<double> recall;
  std::vector<double> read;
  std::vector<double> of_heads;
};
enum class Sizes : std::uint8_t { kUniform, kTable, kMethods };  // kMethods: not of ab-sparse
struct CellKey {
  std::size_t estimator = 0;
  std::size_t summaries = 0;
  std::size_t budget = 0;
  Sizes sizes = Sizes::kUniform;
  auto operator<=>(const CellKey&) const = default;
};
using Cells = std::map<CellKey, Cell>;

class Measurement {
 public:
  Measurement(Session& session, std::vector<BlockTable> tables, std::vector<Budget> budgets)
      : session_(session),
        tables_(std::move(tables)),
        budgets_(std::move(budgets)),
        threads_(session.engine->threads()) {}

  // Reads one passage and adds it to the cells.
  Result<void> read(std::span<const Token> passage, PrefillOptions prefill, Cells& cells);
  [[nodiscard]] const std::vector<BlockTable>& tables() const { return tables_; }
  // Heads whose layer is read in part.
  [[nodiscard]] std::vector<std::size_t> heads() const;
  // Harmonic mean of the table's sizes over those heads.
  [[nodiscard]] double mean_rows(const BlockTable& table) const;

 private:
  static Result<SelectionPlan> plan(const CellKey& key);

  struct Sums {
    CellKey key;
    SelectionPlan plan;
    std::vector<HeadRecall> recall, read;  // [layers * KV heads]
  };
  void add(const Sums& sums, Cells& cells) const;

  Session& session_;
  std::vector<BlockTable> tables_;
  std::vector<Budget> budgets_;
  Threads threads_;
};

Result<SelectionPlan> Measurement::plan(const CellKey& key) {
  std::vector<ParamValues::Assignment> options = {{"summaries", kSummaries.at(key.summaries)}};
  const char* name = kEstimators.at(key.estimator);
  if (key.sizes != Sizes::kMethods) {
    options.push_back({"estimator", std::exchange(name, "ab-sparse")});
  }
  const DecodeMethodInfo* method = find_decode_method(name);
  RESTKV_ASSIGN(const ParamValues values,
                ParamValues::parse(method->name, method->params, options));
  return method->plan(values);
}

std::vector<std::size_t> Measurement::heads() const {
  const ModelInfo& model = session_.engine->model();
  const int dense_layers = plan({}).value().dense_layers;
  std::vector<std::size_t> heads;
  for (int layer = dense_layers; layer < model.n_layer; ++layer) {
    if (model.sliding_windows[static_cast<std::size_t>(layer)] != 0) continue;
    for (int h = 0; h < model.n_kv_head; ++h) {
      heads.push_back(static_cast<std::size_t>(layer * model.n_kv_head + h));
    }
  }
  return heads;
}

double Measurement::mean_rows(const BlockTable& table) const {
  double summaries = 0;
  for (const std::size_t head : heads()) summaries += 1.0 / table.block_rows[head];
  return static_cast<double>(heads().size()) / summaries;
}

Result<void> Measurement::read(std::span<const Token> passage, PrefillOptions prefill,
                               Cells& cells) {
  const ModelInfo& model = session_.engine->model();
  const auto n_kv_head = static_cast<std::size_t>(model.n_kv_head);
  const std::size_t n_head = static_cast<std::size_t>(model.n_layer) * n_kv_head;
  std::vector<Sums> all;
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    for (std::size_t s = 0; s < kSummaries.size(); ++s) {
      for (std::size_t b = 0; b < budgets_.size(); ++b) {
        for (const Sizes sizes : {Sizes::kUniform, Sizes::kMethods}) {
          if (sizes == Sizes::kMethods && s > 0) continue;
          const CellKey key{.estimator = e, .summaries = s, .budget = b, .sizes = sizes};
          RESTKV_ASSIGN(const SelectionPlan made, plan(key));
          all.push_back({.key = key,
                         .plan = made,
                         .recall = std::vector<HeadRecall>(n_head),
                         .read = std::vector<HeadRecall>(n_head)});
        }
      }
    }
  }
  const std::vector<std::size_t> in_part = heads();
  prefill.observed_queries = kQueries;
  prefill.on_layer = [&](const LayerObservation& layer) {
    const std::size_t first = static_cast<std::size_t>(layer.layer) * n_kv_head;
    if (std::ranges::find(in_part, first) == in_part.end()) return;
    for (Sums& sums : all) {
      add_block_recall(layer,
                       {.plan = &sums.plan,
                        .budget = budgets_[sums.key.budget],
                        .least_rows = 0,
                        .kernels = *table_by_name(session_.engine->kernels()),
                        .threads = &threads_,
                        .read = std::span(sums.read).subspan(first, n_kv_head)},
                       std::span(sums.recall).subspan(first, n_kv_head));
    }
  };
  RESTKV_TRY(observe_text(*session_.engine, passage, prefill));
  for (const Sums& sums : all) add(sums, cells);
  return {};
}

void Measurement::add(const Sums& sums, Cells& cells) const {
  const std::vector<std::size_t> heads = this->heads();
  const auto rows_of = [&](Sizes sizes, std::size_t head) {
    if (sizes == Sizes::kMethods) return sums.plan.block_rows;
    const BlockTable& table = tables_[sums.key.estimator];
    return sizes == Sizes::kTable ? static_cast<std::size_t>(table.block_rows[head]) : kUniformRows;
  };
  std::vector<Sizes> ways = {sums.key.sizes};
  if (sums.key.sizes == Sizes::kUniform) ways.push_back(Sizes::kTable);
  for (const Sizes sizes : ways) {
    CellKey key = sums.key;
    key.sizes = sizes;
    Cell& cell = cells[key];
    cell.of_heads.resize(heads.size());
    std::vector<double> recall;
    std::vector<double> read;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const std::size_t rows = rows_of(sizes, heads[i]);
      const auto size =
          static_cast<std::size_t>(std::ranges::find(kBlockSizes, rows) - kBlockSizes.begin());
      recall.push_back(sums.recall[heads[i]].at(size));
      read.push_back(sums.read[heads[i]].at(size));
      cell.of_heads[i] += recall.back();
    }
    cell.recall.push_back(mean(recall));
    cell.read.push_back(mean(read));
  }
}

// "+0.52 (+0.31 to +0.74)", in points.
Result<std::string> difference(const Cell& cell, const Cell& from) {
  RESTKV_ASSIGN(std::vector<double> points, paired_differences(cell.recall, from.recall));
  for (double& point : points) point *= 100;
  RESTKV_ASSIGN(const Interval interval, bootstrap_interval({&points, 1}, {}));
  char text[96];
  std::snprintf(text, sizeof(text), "%+.2f (%+.2f to %+.2f)", interval.estimate, interval.low,
                interval.high);
  return std::string(text);
}

const char* sizes_text(const CellKey& key) {
  switch (key.sizes) {
    case Sizes::kUniform: return "32 for all";
    case Sizes::kTable: return "table";
    case Sizes::kMethods: return "the method's own";
  }
  return "";
}

Result<void> print_rows(const Cells& cells, const std::string& context,
                        const std::vector<std::string>& budgets) {
  for (const auto& [key, cell] : cells) {
    CellKey uniform = key;
    uniform.sizes = Sizes::kUniform;
    CellKey halves = key;
    halves.summaries = 0;
    std::string to_uniform = "-";
    std::string to_halves = "-";
    if (key.sizes != Sizes::kUniform) {
      RESTKV_ASSIGN(to_uniform, difference(cell, cells.at(uniform)));
    }
    if (key.summaries > 0) {
      RESTKV_ASSIGN(to_halves, difference(cell, cells.at(halves)));
    }
    std::vector<double> of_heads = cell.of_heads;
    for (double& sum : of_heads) sum /= static_cast<double>(cell.recall.size());
    std::printf("| %s | %s | %s | %s | %s | %.2f | %.1f | %.2f | %s | %s |\n", context.c_str(),
                budgets[key.budget].c_str(), kEstimators.at(key.estimator), sizes_text(key),
                kSummaries.at(key.summaries), 100 * mean(cell.read), 100 * mean(cell.recall),
                100 * std::sqrt(sample_variance(of_heads).value_or(0)), to_uniform.c_str(),
                to_halves.c_str());
  }
  return {};
}

Result<std::vector<BlockTable>> read_tables(const Options& options, const ModelInfo& model) {
  std::vector<BlockTable> tables;
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    const std::string& path = options.tables.at(e);
    RESTKV_ASSIGN(BlockTable table, read_block_table(path));
    if (!table.estimator.empty() && table.estimator != kEstimators.at(e)) {
      return Error{ErrorCode::kInvalidArgument, path + ": was measured with the boxes of " +
                                                    table.estimator + ", not of " +
                                                    kEstimators.at(e)};
    }
    if (table.fingerprint != model.fingerprint) {
      return Error{ErrorCode::kInvalidArgument, path + ": was measured on another model"};
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

Result<int> measure(const Options& options) {
  std::vector<std::string> budget_names = split_list(options.budgets);
  std::vector<Budget> budgets;
  for (const std::string& name : budget_names) {
    RESTKV_ASSIGN(const Budget budget, Budget::parse(name));
    budgets.push_back(budget);
  }
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(OpenedText text, open_text(options.text, interrupt.flag()));
  const ModelInfo& model = text.session.engine->model();
  RESTKV_ASSIGN(std::vector<BlockTable> tables, read_tables(options, model));
  const std::size_t skip = options.skip > 0 ? options.skip : text.tokens.size() / 2;
  Measurement measurement(text.session, std::move(tables), budgets);
  std::printf("%s; %s from token %zu; %zu heads; harmonic mean of the tables' sizes",
              text.name.c_str(), model.name.c_str(), skip, measurement.heads().size());
  for (const BlockTable& table : measurement.tables()) {
    std::printf(" %.1f", measurement.mean_rows(table));
  }
  std::printf(
      ".\n\n| tokens | budget | boxes | sizes | summaries | rows read, %% | attention caught, %% | "
      "spread over heads | against 32 for all | against f16 "
      "|\n|---|---|---|---|---|---|---|---|---|---|\n");
  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  for (const long long tokens : options.text.contexts) {
    const auto context = static_cast<std::size_t>(tokens);
    std::vector<std::size_t> begins;
    for (std::size_t begin = skip; begin + context <= text.tokens.size(); begin += context) {
      if (options.most_passages == 0 || begins.size() < options.most_passages) {
        begins.push_back(begin);
      }
    }
    if (begins.size() < 2) {
      return Error{ErrorCode::kInvalidArgument, "the text has no two passages of " +
                                                    std::to_string(context) +
                                                    " tokens after token " + std::to_string(skip)};
    }
    Cells cells;
    RESTKV_TRY(for_each_passage(text.tokens, begins, context, [&](std::span<const Token> passage) {
      return measurement.read(passage, prefill, cells);
    }));
    RESTKV_TRY(print_rows(cells, std::to_string(context) + " x " + std::to_string(begins.size()),
                          budget_names));
    std::fflush(stdout);
  }
  return 0;
}

int main_with(Arguments args) {
  Options options;
  FlagSet flags("usage: bench_block_recall -f TEXT --quest-table FILE --arkvale-table FILE");
  flags.begin_section("measurement");
  add_passage_flags(flags, options.text, kQueries + 1);
  flags.add_text({"--quest-table"}, "FILE", "sizes by Quest's boxes", &options.tables[0]);
  flags.add_text({"--arkvale-table"}, "FILE", "sizes by ArkVale's boxes", &options.tables[1]);
  flags.add_text({"--budgets"}, "LIST", "rows to read (4%,10%)", &options.budgets, "");
  flags.add_integer({"--skip"}, "leading tokens of the text to leave out (half of it)", 1, 1 << 30,
                    [&options](long long n) { options.skip = static_cast<std::size_t>(n); });
  flags.add_integer(
      {"--passages"}, "passages of each length at the most (all)", 2, 1 << 20,
      [&options](long long n) { options.most_passages = static_cast<std::size_t>(n); });
  add_model_flags(flags, options.text.common);
  if (const auto status = read_flags(flags, args, options.text.common.show_help)) return *status;
  if (options.tables[0].empty() || options.tables[1].empty()) {
    return report_usage({ErrorCode::kInvalidArgument, "give both tables of block sizes"});
  }
  return end_command(measure(options), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
