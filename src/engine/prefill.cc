// Layer-major prefill: the whole prompt passes through layer 0, then layer 1, ... When a layer is
// done its keys and values are complete, every variant takes what it keeps, and the layer's full
// copy is used again for the next layer. So the peak is one layer's KV, not all layers'.

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "base/clock.h"
#include "engine/prefill_run.h"
#include "engine/renumber.h"

namespace restkv {
namespace {

constexpr std::size_t kLongPrompt = 2048;  // tokens; shorter ones touch few of the file's pages
constexpr std::size_t kLogitBlock = 64;    // rows of logits that are held at a time

// Heads of the layer's rows: each query head, where those of a group hold different rows.
int heads_of(const ModelConfig& config, const KvCache* base) {
  return base != nullptr && !base->sets_agree() ? config.n_head : config.n_kv_head;
}

}  // namespace

PrefillRun::PrefillRun(Engine::State& engine, const PrefillJob& job, SparsePrefill sparse)
    : engine_(engine),
      job_(job),
      config_(engine.model->config()),
      n_(job.tokens.size()),
      end_(job.first_position + static_cast<Position>(job.tokens.size())),
      heads_(heads_of(config_, job.base)),
      group_(static_cast<std::size_t>(config_.n_head / heads_)),
      pass_(engine.pass(PassProducts::Phase::kPrefill, job.tokens.size())),
      sparse_(std::move(sparse)),
      hidden_(engine.options.hidden_type, *engine.kernels, engine.threads) {
  std::size_t largest_window = 0;
  for (const auto& variant : job.variants) {
    const CacheShape shape = engine.cache_shape(*variant);
    runs_.push_back(
        {.variant = variant.get(),
         .budget = variant->budget_rows(static_cast<std::size_t>(end_)),
         .cache = job.base != nullptr ? job.base->fork() : KvCache(shape, engine.counter),
         .queries = job.base_queries != nullptr ? *job.base_queries : engine.query_ring(*variant)});
    runs_.back().pool = make_pool(runs_.back());
    if (job.base_cursors != nullptr) runs_.back().cursors = *job.base_cursors;
    const Needs needs = variant->needs();
    const bool by_query_head = shape.sets > 1 && heads_ == config_.n_kv_head;
    (by_query_head ? with_head_sums_ : with_column_sums_) |= has(needs, Needs::kColumnSums);
    (by_query_head ? with_head_columns_ : with_columns_) |= variant->has_column();
    renumbers_ |= variant->renumbers();
    with_query_statistics_ |= has(needs, Needs::kQueryStatistics);
    if (has(needs, Needs::kWindowQueries)) window_ = std::max(window_, variant->window());
    largest_window = std::max(largest_window, variant->window());
  }
  if (job.options->on_layer) window_ = std::max(window_, job.options->observed_queries);
  largest_window = std::max(largest_window, window_);
  window_ = std::min(window_, n_);
  plan_replays();
  sparse_.begin({.tokens = n_,
                 .largest_window = largest_window,
                 .continued = job.base != nullptr,
                 .n_head = static_cast<std::size_t>(config_.n_head),
                 .workers = static_cast<std::size_t>(engine.threads.count())});
}

Result<PrefillOutcome> PrefillRun::run(std::vector<float>& last_logits) {
  const auto n_embd = static_cast<std::size_t>(config_.n_embd);
  const std::size_t chunk = chunk_size();
  const CacheShape& shape = runs_.front().cache.shape();
  rows_.emplace(LayerRows::Shape{.n_kv_head = heads_,
                                 .head_dim = config_.head_dim,
                                 .type = working_type(shape.type_k, shape.type_v),
                                 .with_column_sums = with_columns_,
                                 .head_sums = with_head_columns_ ? config_.group() : 0},
                *engine_.counter);
  begin_prefix();
  positions_.resize(n_);
  std::iota(positions_.begin(), positions_.end(), job_.first_position);
  hidden_.reserve(n_, n_embd, std::min(n_, std::max(chunk, kLogitBlock)));
  q_.reserve(chunk * config_.q_size());
  attended_.reserve(chunk * config_.q_size());
  k_.reserve(chunk * config_.kv_size());
  v_.reserve(chunk * config_.kv_size());
  window_queries_.reserve(config_.q_size() * window_);
  scratch_.resize(static_cast<std::size_t>(engine_.threads.count()));
  for (auto& scratch : scratch_) {
    scratch.reserve(prefill_attention_scratch(group_, static_cast<std::size_t>(config_.head_dim)));
  }
  if (with_column_sums_ || with_head_sums_) reserve_sums();

  if (with_query_statistics_) {
    queries_.emplace(static_cast<std::size_t>(config_.n_head),
                     static_cast<std::size_t>(config_.head_dim), engine_.threads.count());
  }

  const bool weights_go = n_ >= engine_.options.weights_go_from;
  if (weights_go) engine_.model->let_go_of_packed();
  embed();
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    // Of the file's pages each layer's are read once.
    if (n_ >= kLongPrompt) engine_.model->give_back_pages();
    engine_.model->hold_layer(engine_.threads, layer);
    RESTKV_TRY(run_layer(layer));
    if (weights_go) engine_.model->let_go_of_layer(layer);
  }

  RESTKV_TRY(all_logits());
  PrefillOutcome outcome;
  for (const VariantRun& run : runs_) outcome.reports.push_back(report(run));
  RESTKV_TRY(logits_of_the_last(last_logits));

  end_prefix();
  for (VariantRun& run : runs_) {
    outcome.caches.push_back(std::move(run.cache));
    run.queries.advance(n_);
    outcome.queries.push_back(std::move(run.queries));
    outcome.cursors.push_back(std::move(run.cursors));
  }
  return outcome;
}

// Lets go of what the prompt took, before the output matrix comes.
Result<void> PrefillRun::logits_of_the_last(std::vector<float>& last_logits) {
  const std::span<const float> row = hidden_.take(n_ - 1, 1).row(0);
  std::vector<float> hidden(row.begin(), row.end());
  hidden_.release();
  rows_.reset();
  std::vector<float> logits(static_cast<std::size_t>(config_.n_vocab));
  engine_.model->hold_output(engine_.threads);
  const Pass last = engine_.pass(PassProducts::Phase::kDecode, 1);
  engine_.model->logits(last, {hidden.data(), 1, hidden.size()}, {logits.data(), 1, logits.size()});
  RESTKV_TRY(check_logits({logits.data(), 1, logits.size()}));
  last_logits = std::move(logits);
  return {};
}

void PrefillRun::embed() {
  const std::size_t chunk = chunk_size();
  for (std::size_t first = begin_; first < n_; first += chunk) {
    const std::size_t count = std::min(chunk, n_ - first);
    const View2<float> hidden = hidden_.take_blank(first, count);
    engine_.model->embed(pass_, job_.tokens.subspan(first, count), hidden);
    hidden_.put(first, hidden);
    // A long prompt touches nearly all embeddings, and they are as large as the output matrix.
    if (n_ >= kLongPrompt) engine_.model->give_back_pages();
  }
}

// Patterns see whole blocks of queries.
std::size_t PrefillRun::chunk_size() const {
  std::size_t chunk = std::min(engine_.options.chunk, n_);
  if (sparse_.active()) chunk = (chunk + kPatternChunk - 1) / kPatternChunk * kPatternChunk;
  return std::min(n_, chunk);
}

Result<void> PrefillRun::run_layer(int layer) {
  RESTKV_TRY(fill_rows(layer));
  if (queries_) {
    queries_->reset();
    rotation_ = engine_.model->rope_frequencies(layer);
  }
  load_prefix(layer);
  appended_ = begin_;
  // Where only the last row is read, a pattern has nothing to leave out.
  const bool dense = config_.attention_rule(layer).sliding_window > 0 || only_last_row(layer);
  sparse_.begin_layer(dense ? SparsePrefill::Layer::kDense : SparsePrefill::Layer::kSparse);
  if (sparse_.wants(PatternNeeds::kNothing, 0)) sparse_.choose(pattern_input(layer, 0, 0));
  if (sparse_.wants(PatternNeeds::kLastQueries, 0)) RESTKV_TRY(choose_by_last_queries(layer));
  for (std::size_t first = begin_; first < n_;) {
    const std::size_t end = chunk_end(first);
    const Clock::time_point start = Clock::now();
    run_chunk(layer, first, end - first);
    RESTKV_TRY(record_prefix(end, ms_since(start)));
    RESTKV_TRY(after_chunk(layer, end));
    first = end;
  }
  sparse_.end_layer();
  // Attention is done: the rows of earlier turns get their keys back as they came.
  if (renumbers_ && job_.base != nullptr) job_.base->load_keys(*engine_.kernels, layer, *rows_);
  RESTKV_TRY(replay(layer));
  return compress(layer);
}

// A pattern may look at the last queries and all keys before any attention is computed. The queries
// of a whole prompt are as large as its hidden states, so they are not kept: all chunks are
// projected here for their keys and values, and once more for their queries when their turn comes.
Result<void> PrefillRun::choose_by_last_queries(int layer) {
  const Clock::time_point start = Clock::now();
  const std::size_t last = std::min(n_, kPatternLastQueries);
  AlignedArray<float> queries(last * config_.q_size());
  for (std::size_t first = 0; first < n_; first += chunk_size()) {
    RESTKV_TRY(check_cancel());
    const std::size_t count = std::min(chunk_size(), n_ - first);
    project(layer, first, hidden_.take(first, count));
    append_rows(std::span<const Position>(positions_).subspan(first, count));
    appended_ = first + count;
    for (std::size_t i = std::max(first, n_ - last); i < first + count; ++i) {
      std::copy_n(q_.data() + (i - first) * config_.q_size(), config_.q_size(),
                  queries.data() + (i - (n_ - last)) * config_.q_size());
    }
  }
  sparse_.add_estimate(ms_since(start));
  PatternInput input = pattern_input(layer, n_ - last, last);
  input.q = queries.data();
  sparse_.choose(input);
  return {};
}

PatternInput PrefillRun::pattern_input(int layer, std::size_t first, std::size_t count) {
  head_views_.clear();
  for (int h = 0; h < heads_; ++h) head_views_.push_back(rows_->view(h));
  return {.tokens = n_,
          .n_head = static_cast<std::size_t>(config_.n_head),
          .head_dim = static_cast<std::size_t>(config_.head_dim),
          .q = q_.data(),
          .token_stride = config_.q_size(),
          .first = first,
          .count = count,
          .heads = head_views_,
          .rule = config_.attention_rule(layer),
          .kernels = engine_.kernels,
          .threads = &engine_.threads};
}

// Makes room for the layer and puts the rows of earlier turns in front.
Result<void> PrefillRun::fill_rows(int layer) {
  const int sliding = config_.attention_rule(layer).sliding_window;
  std::vector<std::size_t> capacity(static_cast<std::size_t>(heads_));
  const bool apart = heads_ != config_.n_kv_head;
  for (int h = 0; h < heads_; ++h) {
    std::size_t old = 0;
    if (job_.base != nullptr) {
      old = apart ? job_.base->held_count(layer, h) : job_.base->rows(layer, h);
    }
    std::size_t rows = old + n_;
    if (sliding > 0) {
      // Rows that leave the window are let go before each chunk.
      rows = std::min(rows, static_cast<std::size_t>(sliding) + chunk_size());
    }
    capacity[static_cast<std::size_t>(h)] = rows + replay_rows_;
  }
  RESTKV_TRY(rows_->reset(capacity));
  if (job_.base == nullptr) return {};
  job_.base->load(*engine_.kernels, layer, *rows_);
  if (renumbers_) renumber(*engine_.kernels, *engine_.model, layer, job_.first_position, *rows_);
  return {};
}

// Queries, keys and values of a chunk, into q_, k_ and v_.
void PrefillRun::project(int layer, std::size_t first, View2<const float> hidden) {
  const std::size_t count = hidden.rows;
  engine_.model->project_qkv(
      pass_, layer, hidden, std::span<const Position>(positions_.data() + first, count),
      {q_.data(), count, config_.q_size()}, {k_.data(), count, config_.kv_size()},
      {v_.data(), count, config_.kv_size()});
}

void PrefillRun::run_chunk(int layer, std::size_t first, std::size_t count) {
  const View2<float> hidden = hidden_.take(first, count);
  project(layer, first, hidden);
  const int sliding = config_.attention_rule(layer).sliding_window;
  // Only where whole chunks begin: rows are summed in tiles from the first that is held on, and a
  // prompt that shares its beginning has the same bits.
  const std::size_t whole = first / chunk_size() * chunk_size();
  if (sliding > 0) rows_->drop_before(positions_[whole] - sliding + 1);
  if (appended_ == first) {
    append_rows(std::span<const Position>(positions_).subspan(first, count));
    appended_ = first + count;
  }
  keep_window_queries(first, count);
  count_queries(first, count);
  if (sparse_.wants(PatternNeeds::kChunkQueries, first)) {
    sparse_.choose(pattern_input(layer, first, count));
  }
  attend(layer, first, count);

  // The last layer's result is only read at the last token, unless all logits are asked for.
  std::size_t skip = 0;
  if (only_last_row(layer)) {
    if (first + count < n_) return;
    skip = count - 1;
  }
  const View2<float> rest = hidden.slice(skip, count - skip);
  engine_.model->finish_layer(
      pass_, layer, {attended_.data() + skip * config_.q_size(), count - skip, config_.q_size()},
      rest);
  hidden_.put(first + skip, rest);
}

bool PrefillRun::only_last_row(int layer) const {
  return layer == config_.n_layer - 1 && !job_.options->on_logits;
}

void PrefillRun::append_rows(std::span<const Position> positions) {
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const auto readers = static_cast<std::size_t>(heads_ / config_.n_kv_head);  // of each KV head
  engine_.threads.for_each(static_cast<std::size_t>(heads_), [&](std::size_t h) {
    for (std::size_t i = 0; i < positions.size(); ++i) {
      const std::size_t at = i * config_.kv_size() + h / readers * head_dim;
      rows_->append(*engine_.kernels, static_cast<int>(h), positions[i], k_.data() + at,
                    v_.data() + at, /*column_sum=*/0.0F);
    }
  });
}

void PrefillRun::keep_window_queries(std::size_t first, std::size_t count) {
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const std::size_t window_start = n_ - window_;
  for (std::size_t i = 0; i < count; ++i) {
    if (first + i < window_start) continue;
    const std::size_t slot = first + i - window_start;
    for (std::size_t h = 0; h < static_cast<std::size_t>(config_.n_head); ++h) {
      std::memcpy(window_queries_.data() + (h * window_ + slot) * head_dim,
                  q_.data() + i * config_.q_size() + h * head_dim, head_dim * sizeof(float));
    }
  }
}

void PrefillRun::count_queries(std::size_t first, std::size_t count) {
  if (!queries_) return;
  std::vector<const float*> angles;
  for (std::size_t i = 0; i < count; ++i) angles.push_back(pass_.buffers.angles.row(i));
  queries_->add(*engine_.kernels, engine_.threads,
                {.queries = {q_.data(), count, config_.q_size()},
                 .positions = std::span<const Position>(positions_).subspan(first, count),
                 .angles = angles,
                 .n_rot = static_cast<std::size_t>(config_.n_rot),
                 .adjacent = config_.rope_style == RopeStyle::kAdjacent,
                 .magnitude = rotation_.magnitude});
}

Result<void> PrefillRun::all_logits() {
  if (!job_.options->on_logits) return {};
  const auto n_vocab = static_cast<std::size_t>(config_.n_vocab);
  engine_.model->hold_output(engine_.threads);
  AlignedArray<float> block(std::min(kLogitBlock, n_) * n_vocab);
  for (std::size_t first = job_.options->logits_from; first < n_; first += kLogitBlock) {
    RESTKV_TRY(check_cancel());
    const std::size_t count = std::min(kLogitBlock, n_ - first);
    const View2<float> logits(block.data(), count, n_vocab);
    engine_.model->logits(pass_, hidden_.take(first, count), logits);
    RESTKV_TRY(check_logits(logits));
    job_.options->on_logits(first, logits);
  }
  return {};
}

Result<void> PrefillRun::check_cancel() const {
  const std::atomic<bool>* const cancel = job_.options->cancel;
  if (cancel == nullptr || !cancel->load()) return {};
  return Error{ErrorCode::kCancelled, "interrupted while reading the prompt"};
}

Result<void> PrefillRun::after_chunk(int layer, std::size_t done) {
  RESTKV_TRY(check_cancel());
  const PrefillOptions& options = *job_.options;
  if (options.on_progress) {
    const auto to_read = static_cast<double>(n_ - begin_);
    const double of_layer = static_cast<double>(done - begin_) / to_read;
    const double share = (static_cast<double>(layer) + of_layer) / config_.n_layer;
    options.on_progress(
        {.tokens_done = begin_ + static_cast<std::size_t>(share * to_read), .tokens_total = n_});
  }
  return {};
}

Result<PrefillOutcome> run_prefill(Engine::State& engine, const PrefillJob& job,
                                   std::vector<float>& last_logits) {
  const Clock::time_point start = Clock::now();
  engine.last_prefill = {};
  RESTKV_ASSIGN(SparsePrefill sparse, SparsePrefill::make(job.options->attention));
  try {
    auto outcome = PrefillRun(engine, job, std::move(sparse)).run(last_logits);
    // Now that what the prompt took has gone.
    engine.model->hold_packed(engine.threads);
    engine.last_prefill.total_ms = ms_since(start);
    return outcome;
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory,
                 "no memory for a prompt of " + std::to_string(job.tokens.size()) + " tokens"};
  }
}

}  // namespace restkv
