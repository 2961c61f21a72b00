#include "cli/bench_run.h"

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/random.h"
#include "cli/build_commit.h"
#include "text/file_type.h"

namespace restkv {
namespace {

constexpr std::size_t kWarmupTokens = 2048;  // of a prompt, at the most
enum Stream : std::uint8_t { kDepthTokens, kPromptTokens, kGeneratedTokens };

bool same_cache(const KvOptions& a, const KvOptions& b) {
  return policy_text(a) == policy_text(b) && allocator_text(a) == allocator_text(b) &&
         a.budget.text() == b.budget.text() && a.type_k == b.type_k && a.type_v == b.type_v &&
         decode_text(a) == decode_text(b);
}

// "qwen2 494M Q4_K - Medium"
std::string model_type_of(const ModelInfo& model) {
  const auto millions = (model.weights.all + 500'000) / 1'000'000;
  std::string text = model.architecture + " " + std::to_string(millions) + "M";
  if (model.file_type) text += " " + file_type_name(*model.file_type);
  return text;
}

// Of each phase that the test has.
std::string products_of(const Engine& engine, const BenchCase& test) {
  std::string prompt = engine.prefill_products(test.n_prompt);
  std::string generated = engine.decode_products();
  if (test.n_prompt == 0) return generated;
  return test.n_gen == 0 || prompt == generated ? prompt : prompt + ", " + generated;
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char buffer[32];
  return {buffer, std::strftime(buffer, sizeof(buffer), "%FT%TZ", &parts)};
}

}  // namespace

void BenchRunner::take_model(std::string path) {
  base_.reset();
  prepared_.reset();
  engine_.reset();
  model_path_ = std::move(path);
}

Result<BenchRow> BenchRunner::measure(const BenchCase& test) {
  RESTKV_TRY(check_cancel());
  RESTKV_TRY(prepare(test));
  const std::vector<Token> prompt = tokens_of(test.n_prompt, kPromptTokens);
  BenchRow row = row_of(test);
  if (row.machine) {
    RESTKV_ASSIGN(row.machine->bytes_per_s, reading_speed(test));
  }
  if (options_.warmup) RESTKV_TRY(warm_up(test));
  peak_.begin();
  for (long long i = 0; i < options_.repetitions; ++i) {
    RESTKV_ASSIGN(const Sample one, sample(test, prompt));
    row.samples_ns.push_back(one.ns);
    if (test.n_prompt > 0) row.ttft_ms.push_back(one.ttft_ms);
    row.kv_bytes = one.kv_bytes;
    row.kv_bytes_peak = one.kv_bytes_peak;
    row.hidden_bytes = one.hidden_bytes;
    row.kv_budget = one.kv_budget;
    row.prefill_density = one.prefill_rows.density;
    row.work = {
        .prefill = prefill_work(row.model, test.kv, test.n_prompt, test.n_depth, one.prefill_rows),
        .decode = decode_work(row.model, test.kv, test.n_gen, one.decode_rows)};
  }
  row.peak_rss_bytes = peak_.bytes();
  if (process_peak_is_known_) row.process_peak_rss_bytes = process_peak_rss_bytes();
  if (row.machine) {
    RESTKV_ASSIGN(const double after, reading_speed(test));
    row.machine->bytes_per_s = (row.machine->bytes_per_s + after) / 2;
  }
  return row;
}

// What other guests of a machine leave of its memory's speed changes within minutes by half, so a
// row is held against what there was before and after it. What is read counts for no peak.
Result<double> BenchRunner::reading_speed(const BenchCase& test) {
  const std::size_t peak = process_peak_rss_bytes();
  auto speed = measure_reading(test.n_threads, cancel_);
  process_peak_is_known_ &= forget_peak_rss(peak);
  return speed;
}

// An engine with the case's threads and chunk, and a cache at the case's depth.
Result<void> BenchRunner::prepare(const BenchCase& test) {
  const bool same_engine =
      prepared_ && prepared_->n_threads == test.n_threads && prepared_->n_batch == test.n_batch;
  const bool same_base = same_engine && prepared_->n_depth == test.n_depth &&
                         same_cache(prepared_->kv, test.kv) &&
                         prefill_text(prepared_->prefill) == prefill_text(test.prefill);
  if (same_base) return {};
  base_.reset();
  prepared_.reset();
  if (!same_engine) {
    engine_.reset();
    EngineOptions options = options_.common.engine;
    options.model_path = model_path_;
    options.n_threads = test.n_threads;
    options.chunk = test.n_batch;
    RESTKV_ASSIGN(engine_, Engine::load(options));
  }
  if (test.n_depth > 0 && options_.fill == BenchFill::kPrompt) {
    RESTKV_ASSIGN(base_, read_prompt(test, tokens_of(test.n_depth, kDepthTokens)));
  } else {
    RESTKV_ASSIGN(base_, engine_->synthetic_sequence(test.n_depth, test.kv));
  }
  prepared_ = test;
  return {};
}

Result<void> BenchRunner::warm_up(const BenchCase& test) {
  BenchCase shorter = test;
  shorter.n_prompt = std::min(test.n_prompt, kWarmupTokens);
  shorter.n_gen = std::min<std::size_t>(test.n_gen, 1);
  RESTKV_ASSIGN([[maybe_unused]] const Sample thrown_away,
                sample(shorter, tokens_of(shorter.n_prompt, kPromptTokens)));
  return {};
}

Result<BenchRunner::Sample> BenchRunner::sample(const BenchCase& test,
                                                const std::vector<Token>& prompt) {
  Sample result;
  const bool from_nothing = test.n_depth == 0 && test.n_prompt > 0;
  std::optional<Sequence> sequence;
  if (!from_nothing) sequence = base_->fork();
  result.prefill_rows.before = base_->rows();

  const Clock::time_point start = Clock::now();
  if (from_nothing) {
    RESTKV_ASSIGN(sequence, read_prompt(test, prompt));
  } else if (test.n_prompt > 0) {
    PrefillOptions prefill;
    prefill.cancel = &cancel_;
    prefill.attention = test.prefill;
    RESTKV_TRY(engine_->extend(*sequence, prompt, prefill, logits_));
  }
  if (test.n_prompt > 0) {
    // The first token: the likeliest.
    [[maybe_unused]] const volatile auto first =
        std::ranges::max_element(logits_) - logits_.begin();
    result.ttft_ms = ms_since(start);
  }
  result.prefill_rows.after = result.decode_rows.before = sequence->rows();
  if (test.n_prompt > 0) {
    result.prefill_rows.density = sequence->report().prefill.layer_density;
  }
  RESTKV_TRY(generate(*sequence, test.n_gen));
  result.ns = static_cast<std::uint64_t>(ms_since(start) * 1e6);
  result.decode_rows.after = sequence->rows();
  result.kv_bytes = sequence->bytes();
  const KvReport report = sequence->report();
  result.kv_budget = report.budget;
  result.kv_bytes_peak = report.bytes_peak;
  result.hidden_bytes = report.hidden_bytes;
  if (report.decode.rows_held_mean > 0) {
    result.decode_rows.read_share = report.decode.rows_read_mean / report.decode.rows_held_mean;
    result.decode_rows.summary_bytes = report.decode.summary_bytes;
  }
  return result;
}

Result<Sequence> BenchRunner::read_prompt(const BenchCase& test, std::span<const Token> prompt) {
  PrefillOptions prefill;
  prefill.cancel = &cancel_;
  prefill.attention = test.prefill;
  RESTKV_ASSIGN(std::vector<Sequence> made,
                engine_->prefill(prompt, {&test.kv, 1}, prefill, logits_));
  return std::move(made.front());
}

Result<void> BenchRunner::generate(Sequence& sequence, std::size_t n) {
  logits_.resize(static_cast<std::size_t>(engine_->model().n_vocab));
  Sequence* const one = &sequence;
  for (std::size_t i = 0; i < n; ++i) {
    RESTKV_TRY(check_cancel());
    const Token token = token_at(kGeneratedTokens, i);
    RESTKV_TRY(engine_->decode({&one, 1}, {&token, 1}, {logits_.data(), 1, logits_.size()}));
  }
  return {};
}

Result<void> BenchRunner::check_cancel() const {
  if (!cancel_.load()) return {};
  return Error{ErrorCode::kCancelled, "interrupted while measuring"};
}

BenchRow BenchRunner::row_of(const BenchCase& test) const {
  BenchRow row{.test = test,
               .fill = options_.fill,
               .model = engine_->model(),
               .model_type = model_type_of(engine_->model()),
               .isa = std::string(engine_->kernels()),
               .engine = options_.common.engine,
               .products = products_of(*engine_, test),
               .decode_table = options_.common.decode.table,
               .build_commit = build_commit(),
               .cpu_info = cpu_name(),
               .test_time = time_now()};
  const auto found = machine_.find(test.n_threads);
  if (found != machine_.end()) row.machine = found->second;
  return row;
}

Token BenchRunner::token_at(std::uint64_t stream, std::size_t i) const {
  const auto n_vocab = static_cast<std::uint64_t>(engine_->model().n_vocab);
  return static_cast<Token>(random_at(options_.common.kv.seed, stream, i, 0) % n_vocab);
}

std::vector<Token> BenchRunner::tokens_of(std::size_t n, std::uint64_t stream) const {
  std::vector<Token> tokens(n);
  for (std::size_t i = 0; i < n; ++i) tokens[i] = token_at(stream, i);
  return tokens;
}

}  // namespace restkv
