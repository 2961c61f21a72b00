// A complete layer of a prefill: what the policies see of it, what each variant keeps, and what is
// counted and reported of that.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "base/clock.h"
#include "engine/prefill_run.h"
#include "engine/row_report.h"

namespace restkv {
PrefillRun::Observed PrefillRun::observe(int layer) {
  head_views_.clear();
  sum_views_.clear();
  for (int h = 0; h < heads_; ++h) {
    head_views_.push_back(rows_->view(h));
    sum_views_.push_back(std::as_const(*rows_).column_sums(h));
  }
  Observed observed{
      .plain = {.layer = layer,
                .n_layer = config_.n_layer,
                .n_head = config_.n_head,
                .n_kv_head = heads_,
                .head_dim = config_.head_dim,
                .attention = config_.attention_rule(layer),
                .heads = head_views_,
                .window_queries = {window_queries_.data(), static_cast<std::size_t>(config_.n_head),
                                   window_, static_cast<std::size_t>(config_.head_dim)},
                .window_positions = std::span<const Position>(positions_).last(window_),
                .output_factors = {},
                .column_sums = {}}};
  if (with_column_sums_) observed.plain.column_sums = sum_views_;
  const bool any_apart =
      std::ranges::any_of(runs_, [](const VariantRun& run) { return run.sets() > 1; });
  if (any_apart && heads_ == config_.n_kv_head) {
    std::vector<std::span<const float>> sums;
    for (int head = 0; with_head_sums_ && head < config_.n_head; ++head) {
      sums.push_back(
          std::as_const(*rows_).head_sums(head / config_.group(), head % config_.group()));
    }
    observed.by_query_head = std::make_unique<QueryHeadView>(observed.plain, std::move(sums));
  }
  return observed;
}

// What only some policies need beside the rows and the window.
void PrefillRun::show_extras(const Variant& variant, int layer, LayerObservation& observation) {
  const auto n_head = static_cast<std::size_t>(config_.n_head);
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const auto n_embd = static_cast<std::size_t>(config_.n_embd);
  const Needs needs = variant.needs();
  if (has(needs, Needs::kOutputProjection)) {
    observation.output_factors =
        engine_.model->output_factors(*engine_.kernels, engine_.threads, layer);
  }
  if (has(needs, Needs::kOutputColumns)) {
    output_columns_.reserve(n_head * head_dim * n_embd);
    const View3<float> columns{output_columns_.data(), n_head, head_dim, n_embd};
    if (output_columns_layer_ != layer) engine_.model->output_columns(layer, columns);
    output_columns_layer_ = layer;
    observation.output_columns = columns;
  }
  if (has(needs, Needs::kReplay)) {
    const LayerScores& worth = worth_.at(variant.score_key());
    worth_views_.assign(worth.begin(), worth.end());
    observation.replay_worth = worth_views_;
  }
  if (has(needs, Needs::kQueryStatistics)) {
    observation.query_statistics = queries_->statistics();
    observation.rotation = {.frequencies = rotation_.frequencies,
                            .magnitude = rotation_.magnitude,
                            .adjacent = config_.rope_style == RopeStyle::kAdjacent};
  }
}

// A variant sees the newest `window` queries, whatever the others asked for. Heads follow one
// another in the buffer, so a smaller window is a copy.
void PrefillRun::show(const Variant& variant, const LayerObservation& plain, Shown& shown) {
  shown.observation = plain;
  show_extras(variant, plain.layer, shown.observation);
  const std::size_t own = std::min(window_, variant.window());
  if (own == window_) return;
  shown.queries.reserve(config_.q_size() * own);
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  for (std::size_t h = 0; h < static_cast<std::size_t>(config_.n_head); ++h) {
    std::memcpy(shown.queries.data() + h * own * head_dim,
                window_queries_.data() + (h * window_ + window_ - own) * head_dim,
                own * head_dim * sizeof(float));
  }
  shown.observation.window_queries = {shown.queries.data(),
                                      static_cast<std::size_t>(config_.n_head), own,
                                      static_cast<std::size_t>(config_.head_dim)};
  shown.observation.window_positions = plain.window_positions.last(own);
}

const LayerScores& PrefillRun::score(VariantRun& run, const LayerObservation& plain,
                                     ScoreCache& scored) {
  const Variant& variant = *run.variant;
  std::string key = variant.score_key();
  if (variant.scores_depend_on_budget()) key += "|" + std::to_string(run.budget.rows);
  const auto found = scored.find(key);
  if (found != scored.end()) {
    run.compress_ms += found->second.ms;  // alone it would have taken the time too
    return found->second.scores;
  }
  const Clock::time_point start = Clock::now();
  Shown shown;
  show(variant, plain, shown);
  LayerScores scores =
      score_layer(variant, shown.observation, run.budget.rows, *engine_.kernels, engine_.threads);
  Scored& made = scored[std::move(key)];
  made = {.scores = std::move(scores), .ms = ms_since(start)};
  return made.scores;
}

// The layer is complete: every variant takes what it keeps.
Result<void> PrefillRun::compress(int layer) {
  const int sliding = config_.attention_rule(layer).sliding_window;
  if (sliding > 0) rows_->drop_before(end_ - sliding);
  const Observed observed = observe(layer);
  if (job_.options->on_layer) job_.options->on_layer(observed.plain);
  ScoreCache scored;
  for (VariantRun& run : runs_) {
    const Clock::time_point start = Clock::now();
    LayerObservation shown = observed.of(run);
    shown.cursors = run.cursors.of(layer, shown.heads.size());
    RESTKV_TRY(run.pool ? compete(run, layer, shown, scored) : take(run, layer, shown, scored));
    count_bytes(run);
    note_queries(run, layer);
    const double ms = ms_since(start);
    run.compress_ms += ms;
    engine_.last_prefill.compress_ms += ms;
  }
  return {};
}

// What the layer keeps depends on the layer alone.
Result<void> PrefillRun::take(VariantRun& run, int layer, const LayerObservation& plain,
                              ScoreCache& scored) {
  const Variant& variant = *run.variant;
  const std::size_t full =
      full_rows(config_.attention_rule(layer).sliding_window, static_cast<std::size_t>(end_));
  // Across layers, a run without a pool keeps everything.
  if (variant.policy().keeps_all || variant.allocator_info().across_layers ||
      full <= run.budget.rows || !must_drop(variant, plain, run.budget.rows, end_, full)) {
    return store(run, layer, plain, nullptr);
  }
  const LayerScores& scores = score(run, plain, scored);
  std::vector<PolicyCut> cuts = run.cursors.move_on(variant, plain, run.budget.rows);
  // A first prompt fills its budget.
  if (job_.base == nullptr) cuts.clear();
  const KeepSets keep = choose_rows(variant, plain, scores, run.budget.rows, end_, full, cuts);
  return store(run, layer, plain, &keep);
}

// The layer enters the pool and may push rows of earlier layers out: they go first, so that there
// is never more than the pool and this layer.
Result<void> PrefillRun::compete(VariantRun& run, int layer, const LayerObservation& plain,
                                 ScoreCache& scored) {
  LayerScores nothing;
  for (const HeadRows& head : plain.heads) nothing.emplace_back(head.positions.size(), 0.0F);
  const bool any = any_to_score(*run.variant, plain, end_);
  const LayerScores& scores = any ? score(run, plain, scored) : nothing;
  if (any) run.cursors.move_on(*run.variant, plain, run.budget.rows);
  const std::vector<KeepSets> keep =
      run.pool->add({.observation = plain,
                     .scores = scores,
                     .next_position = end_,
                     .output_norm = norm_of(hidden_.take(n_ - 1, 1).row(0))});
  RESTKV_TRY(drop_rows(run.cache, std::span(keep).first(static_cast<std::size_t>(layer))));
  return store(run, layer, plain, &keep.back());
}

// Null where everything stays, or every layer decides for itself.
std::unique_ptr<LayerPool> PrefillRun::make_pool(const VariantRun& run) const {
  const Variant& variant = *run.variant;
  if (!variant.allocator_info().across_layers || variant.policy().keeps_all) return nullptr;
  std::size_t held = 0;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    const auto sliding = static_cast<std::size_t>(config_.attention_rule(layer).sliding_window);
    for (int set = 0; set < config_.n_kv_head * run.sets(); ++set) {
      const std::size_t rows = n_ + (job_.base != nullptr ? job_.base->held_count(layer, set) : 0);
      held += sliding > 0 ? std::min(rows, sliding) : rows;
    }
  }
  const std::size_t pool =
      pool_rows(config_, run.sets(), run.budget.rows, static_cast<std::size_t>(end_));
  if (held <= pool) return nullptr;
  return std::make_unique<LayerPool>(
      variant, LayerPool::Size{.budget = run.budget.rows, .rows = pool}, *engine_.counter);
}

// keep == nullptr: everything stays.
Result<void> PrefillRun::store(VariantRun& run, int layer, const LayerObservation& observation,
                               const KeepSets* keep) {
  const int sliding = config_.attention_rule(layer).sliding_window;
  const auto sets = static_cast<std::size_t>(run.sets());
  for (std::size_t h = 0; h < static_cast<std::size_t>(config_.n_kv_head); ++h) {
    std::vector<KeptRows> kept;
    std::vector<std::vector<std::uint32_t>> all;
    for (std::size_t set = h * sets; set < (h + 1) * sets; ++set) {
      const HeadRows& rows = observation.heads[set];
      kept.push_back({.rows = rows, .keep = {}, .sums = column_of(run, set)});
      if (keep != nullptr) {
        kept.back().keep = (*keep)[set];
      } else {
        std::vector<std::uint32_t>& numbers = all.emplace_back(rows.positions.size());
        std::iota(numbers.begin(), numbers.end(), 0U);
        kept.back().keep = numbers;
      }
    }
    const auto head = static_cast<int>(h);
    if (keep == nullptr && job_.base != nullptr && sliding == 0) {
      // Rows of earlier turns are already there, in their own type: add the new ones only.
      RESTKV_TRY(run.cache.append_rows(*engine_.kernels, layer, head, kept, n_));
    } else {
      RESTKV_TRY(run.cache.store(*engine_.kernels, layer, head, kept));
    }
  }
  return {};
}

// The numbers that go with the rows of a set: the attention that they received, or what they were
// worth to a replay. Empty where there are none.
std::span<const float> PrefillRun::column_of(const VariantRun& run, std::size_t set) const {
  if (!run.variant->has_column()) return {};
  if (has(run.variant->needs(), Needs::kReplay)) {
    return worth_.at(run.variant->score_key())[set];
  }
  const auto sets = static_cast<std::size_t>(run.sets());
  if (sets == 1 || heads_ == config_.n_head) return rows_->column_sums(static_cast<int>(set));
  return rows_->head_sums(static_cast<int>(set / sets), static_cast<int>(set % sets));
}

void PrefillRun::count_bytes(VariantRun& run) const {
  // The rows of earlier turns are held until the prefill has succeeded.
  const std::size_t own = job_.base != nullptr
                              ? job_.base->bytes() + run.cache.bytes_beyond(*job_.base)
                              : run.cache.bytes();
  // Column sums and rows of a replay may be there for another variant of a shared prefill; alone
  // this one has none.
  const bool by_query_head = run.sets() > 1 && heads_ == config_.n_kv_head;
  const bool with_column = run.variant->has_column() && !by_query_head;
  const bool with_head_column = run.variant->has_column() && by_query_head;
  const std::size_t others_replay = replay_rows_ - own_replay_rows(run);
  std::size_t others = rows_->row_bytes(others_replay);
  if (!with_column) others += rows_->column_sum_bytes();
  if (!with_head_column) others += rows_->head_sum_bytes();
  if (run.variant->has_column()) {
    others += others_replay * sizeof(float) *
              static_cast<std::size_t>(with_column ? heads_ : config_.n_head);
  }
  const std::size_t layer_bytes = rows_->bytes() - others;
  const std::size_t score_bytes = run.pool ? run.pool->bytes() : 0;
  run.peak_bytes = std::max(run.peak_bytes, own + layer_bytes + score_bytes + prefix_bytes(run));
}

// For scores that are made while generating.
void PrefillRun::note_queries(VariantRun& run, int layer) {
  if (!run.queries.keeps_any()) return;
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const std::size_t own = std::min(window_, run.variant->window());
  for (std::size_t i = 0; i < own; ++i) {
    run.queries.put(static_cast<std::size_t>(layer), n_ - own + i,
                    window_queries_.data() + (window_ - own + i) * head_dim, window_ * head_dim);
  }
}

KvReport PrefillRun::report(const VariantRun& run) const {
  KvReport report =
      row_report(config_, *run.variant, run.budget, run.cache, static_cast<std::size_t>(end_));
  report.bytes_peak = run.peak_bytes;
  report.hidden_bytes = hidden_.bytes();
  for (const Replay& replay : replays_) {
    if (replay.piece == own_replay_rows(run)) {
      report.hidden_bytes += replay.hidden.size() * sizeof(float);
    }
  }
  report.compress_ms = run.compress_ms;
  report.prefill = sparse_.report();
  return report;
}

}  // namespace restkv
