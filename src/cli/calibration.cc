#include "cli/calibration.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/threads.h"
#include "cli/demo_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/report_file.h"
#include "kernels/kernels.h"
#include "sparse/block_recall.h"

namespace restkv {
namespace {

constexpr std::size_t kQueries = 64;  // newest queries of a passage whose attention is looked at
constexpr std::size_t kLogbookEntries = 5000;  // about 140,000 tokens
constexpr std::uint64_t kLogbookSeed = 11;

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// Joins the paragraphs of a SQuAD file; nothing when the text is no such file.
std::optional<std::string> squad_text(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("data") || !json["data"].is_array()) return std::nullopt;
  std::string joined;
  for (const nlohmann::json& article : json["data"]) {
    if (!article.is_object() || !article.contains("paragraphs")) return std::nullopt;
    for (const nlohmann::json& paragraph : article["paragraphs"]) {
      if (!paragraph.is_object() || !paragraph.contains("context") ||
          !paragraph["context"].is_string()) {
        return std::nullopt;
      }
      joined += paragraph["context"].get<std::string>() + "\n\n";
    }
  }
  return joined;
}

std::string hash_of(const std::string& text) {
  Hash hash;
  hash.add(text);
  return hash.text();
}

// What the sizes catch in some passages, head by head, [n_layer * n_kv_head].
struct Measured {
  std::vector<HeadRecall> sums;
  std::size_t passages = 0;

  [[nodiscard]] HeadRecall mean(std::size_t head) const {
    HeadRecall recall = sums[head];
    for (double& share : recall) share /= static_cast<double>(passages);
    return recall;
  }
};

class CalibrationRun {
 public:
  CalibrationRun(Session& session, const CalibrationOptions& options, const SelectionPlan& plan,
                 const Budget& budget)
      : session_(session),
        options_(options),
        plan_(plan),
        budget_(budget),
        threads_(session.engine->threads()) {}

  // Reads one passage.
  Result<void> read(std::span<const Token> passage, PrefillOptions prefill, Measured& to) {
    const ModelInfo& model = session_.engine->model();
    const auto n_kv_head = static_cast<std::size_t>(model.n_kv_head);
    to.sums.resize(static_cast<std::size_t>(model.n_layer) * n_kv_head);
    prefill.observed_queries = kQueries;
    prefill.on_layer = [&](const LayerObservation& layer) {
      if (!is_sparse(layer.layer)) return;
      add_block_recall(
          layer,
          {.plan = &plan_,
           .budget = budget_,
           .kernels = *table_by_name(session_.engine->kernels()),
           .threads = &threads_},
          std::span(to.sums).subspan(static_cast<std::size_t>(layer.layer) * n_kv_head, n_kv_head));
    };
    RESTKV_TRY(observe_text(*session_.engine, passage, prefill));
    ++to.passages;
    return {};
  }
  // Heads that are read in part: only their sizes mean anything.
  [[nodiscard]] std::vector<std::size_t> heads() const {
    const ModelInfo& model = session_.engine->model();
    std::vector<std::size_t> heads;
    for (int layer = 0; layer < model.n_layer; ++layer) {
      for (int h = 0; h < model.n_kv_head; ++h) {
        if (is_sparse(layer))
          heads.push_back(static_cast<std::size_t>(layer * model.n_kv_head + h));
      }
    }
    return heads;
  }
  [[nodiscard]] BlockTable table(const Measured& measured) const {
    const ModelInfo& model = session_.engine->model();
    BlockTable table{
        .name = {},
        .fingerprint = model.fingerprint,
        .n_layer = model.n_layer,
        .n_kv_head = model.n_kv_head,
        .block_rows = std::vector<int>(measured.sums.size(), static_cast<int>(options_.mean_rows))};
    const std::vector<std::size_t> sparse = heads();
    std::vector<HeadRecall> recall;
    for (const std::size_t head : sparse) recall.push_back(measured.mean(head));
    const std::vector<int> sizes = allocate_blocks(recall, options_.mean, options_.mean_rows);
    for (std::size_t i = 0; i < sparse.size(); ++i) table.block_rows[sparse[i]] = sizes[i];
    return table;
  }
  // Attention caught with these sizes, mean over the heads that are read in part.
  [[nodiscard]] double recall(const Measured& measured, const std::vector<int>& sizes) const {
    double sum = 0;
    for (const std::size_t head : heads()) {
      const auto size = std::ranges::find(kBlockSizes, static_cast<std::size_t>(sizes[head]));
      RESTKV_CHECK(size != kBlockSizes.end());
      sum += measured.mean(head)[static_cast<std::size_t>(size - kBlockSizes.begin())];
    }
    return sum / static_cast<double>(heads().size());
  }

 private:
  [[nodiscard]] bool is_sparse(int layer) const {
    const auto& windows = session_.engine->model().sliding_windows;
    return layer >= plan_.dense_layers && windows[static_cast<std::size_t>(layer)] == 0;
  }

  Session& session_;
  const CalibrationOptions& options_;
  const SelectionPlan& plan_;
  const Budget& budget_;
  Threads threads_;
};

// What decode must be asked for to read as it was measured.
struct Settings {
  ParamValues values;
  SelectionPlan plan;
  Budget budget;
};

Result<Settings> settings_of(const DecodeOptions& decode) {
  const DecodeMethodInfo* method = find_decode_method(decode.method);
  if (method == nullptr || !method->takes_table) {
    return invalid("'" + decode.method + "' takes no table of block sizes: ab-sparse does");
  }
  const auto block =
      std::ranges::find(decode.method_options, "block", &ParamValues::Assignment::first);
  if (block != decode.method_options.end()) {
    return invalid("all block sizes are measured: block=" + block->second + " says nothing here");
  }
  RESTKV_ASSIGN(ParamValues values,
                ParamValues::parse(method->name, method->params, decode.method_options));
  RESTKV_ASSIGN(Budget budget, Budget::parse(method->default_budget));
  if (decode.budget) budget = *decode.budget;
  const SelectionPlan plan = method->plan(values);
  return Settings{.values = std::move(values), .plan = plan, .budget = budget};
}

// How a text of so many passages is divided.
Result<std::size_t> held_back_of(const CalibrationOptions& options, std::size_t tokens) {
  const std::size_t passages = tokens / options.tokens;
  const std::size_t least = options.held_back.value_or(1);
  if (passages < options.passages + least) {
    return invalid("the text has " + std::to_string(tokens) + " tokens; " +
                   std::to_string(options.passages + least) + " passages of " +
                   std::to_string(options.tokens) + " need " +
                   std::to_string((options.passages + least) * options.tokens));
  }
  return options.held_back.value_or(std::min(kMostHeldBack, passages - options.passages));
}

}  // namespace

Result<std::string> calibration_text(const std::string& path, std::string& name) {
  if (path.empty()) {
    name = "built-in logbook";
    return make_logbook(kLogbookEntries, kLogbookSeed, {});
  }
  name = path.substr(path.find_last_of('/') + 1);
  RESTKV_ASSIGN(std::string text, read_text_file(path));
  if (auto paragraphs = squad_text(text)) return *std::move(paragraphs);
  return text;
}

Result<void> check_calibration(const CalibrationOptions& options) {
  RESTKV_ASSIGN([[maybe_unused]] const Settings settings, settings_of(options.decode));
  return {};
}

Result<Calibration> calibrate(Session& session, const std::string& text,
                              const CalibrationOptions& options, const PrefillOptions& prefill,
                              const CalibrationWatch& on_progress) {
  RESTKV_ASSIGN(const Settings settings, settings_of(options.decode));
  RESTKV_ASSIGN(
      const std::vector<Token> tokens,
      session.vocabulary->tokenize(text, {.special = SpecialText::kPlain, .bos = Bos::kByModel}));
  RESTKV_ASSIGN(const std::size_t n_held_back, held_back_of(options, tokens.size()));
  const std::size_t passages = options.passages + n_held_back;
  CalibrationRun run(session, options, settings.plan, settings.budget);
  if (run.heads().empty()) return invalid("no layer is read in part: there is nothing to measure");
  Measured seen;
  Measured held_back;
  if (on_progress) on_progress(0, passages);
  for (std::size_t i = 0; i < passages; ++i) {
    const auto passage = std::span(tokens).subspan(i * options.tokens, options.tokens);
    RESTKV_TRY(run.read(passage, prefill, i < options.passages ? seen : held_back));
    if (on_progress) on_progress(i + 1, passages);
  }
  Calibration result{.table = run.table(seen),
                     .origin = {.budget = settings.budget.text(),
                                .rows = recall_rows(settings.budget, options.tokens),
                                .passages = options.passages,
                                .held_back = n_held_back,
                                .tokens = options.tokens}};
  result.table.estimator = settings.values.choice("estimator");
  result.table.summaries = settings.values.choice("summaries");
  result.table.mean = options.mean == BlockMean::kHarmonic ? "harmonic" : "arithmetic";
  result.table.mean_rows = static_cast<int>(options.mean_rows);
  const std::vector<int> uniform(result.table.block_rows.size(),
                                 static_cast<int>(options.mean_rows));
  const Measured& judge = n_held_back > 0 ? held_back : seen;
  result.origin.recall = run.recall(judge, result.table.block_rows);
  result.origin.recall_uniform = run.recall(judge, uniform);
  result.origin.model = session.engine->model().name;
  result.origin.texts_hash = hash_of(text);
  return result;
}

Result<Calibration> calibrate_to_file(Session& session, const CalibrationJob& job,
                                      const InterruptGuard& interrupt) {
  std::string name;
  RESTKV_ASSIGN(const std::string text, calibration_text(job.text_file, name));
  RESTKV_TRY(check_text_file(job.output));  // before the work, which takes long
  const CalibrationOptions& calibration = job.calibration;
  const auto progress = make_progress(stderr);
  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  RESTKV_ASSIGN(
      Calibration made,
      calibrate(session, text, calibration, prefill, [&](std::size_t done, std::size_t passages) {
        if (done == 0) {
          progress->begin({.label = "measuring block sizes",
                           .unit = ProgressUnit::kTokens,
                           .total = passages * calibration.tokens});
        }
        progress->update(done * calibration.tokens);
      }));
  progress->end();
  made.table.texts = name;
  RESTKV_TRY(write_text_file(job.output, block_table_text(made.table, made.origin)));
  return made;
}

}  // namespace restkv
