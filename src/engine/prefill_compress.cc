// A complete layer of a prefill: what the policies see of it, what each variant keeps, and what is
// counted and reported of that.

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "base/clock.h"
#include "engine/prefill_run.h"

namespace restkv {

LayerObservation PrefillRun::observe(int layer) {
  head_views_.clear();
  sum_views_.clear();
  for (int h = 0; h < config_.n_kv_head; ++h) {
    head_views_.push_back(rows_->view(h));
    sum_views_.push_back(std::as_const(*rows_).column_sums(h));
  }
  LayerObservation observation{
      .layer = layer,
      .n_layer = config_.n_layer,
      .n_head = config_.n_head,
      .n_kv_head = config_.n_kv_head,
      .head_dim = config_.head_dim,
      .attention = config_.attention_rule(layer),
      .heads = head_views_,
      .window_queries = {window_queries_.data(), static_cast<std::size_t>(config_.n_head), window_,
                         static_cast<std::size_t>(config_.head_dim)},
      .window_positions = std::span<const Position>(positions_).last(window_),
      .output_factors = {},
      .column_sums = {}};
  if (with_column_sums_) observation.column_sums = sum_views_;
  return observation;
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
  if (has(needs, Needs::kQueryStatistics)) {
    observation.query_statistics = queries_->statistics();
    observation.rotation = {.frequencies = rotation_.frequencies,
                            .magnitude = rotation_.magnitude,
                            .adjacent = config_.rope_style == RopeStyle::kAdjacent};
  }
}

// The layer is complete: every variant takes what it keeps.
Result<void> PrefillRun::compress(int layer) {
  const int sliding = config_.attention_rule(layer).sliding_window;
  if (sliding > 0) rows_->drop_before(end_ - sliding);
  const LayerObservation plain = observe(layer);
  if (job_.options->on_layer) job_.options->on_layer(plain);
  std::map<std::string, LayerScores> scored;
  for (VariantRun& run : runs_) {
    const Clock::time_point start = Clock::now();
    const Variant& variant = *run.variant;
    if (variant.policy().keeps_all || !over_budget(plain, run.budget.rows)) {
      RESTKV_TRY(store(run, layer, plain, nullptr));
    } else {
      LayerObservation observation = plain;
      show_extras(variant, layer, observation);
      // A variant sees the newest `window` queries, whatever the others asked for. Heads follow one
      // another in the buffer, so a smaller window is a copy.
      AlignedArray<float> own_queries;
      const std::size_t own = std::min(window_, variant.window());
      if (own < window_) {
        own_queries.reserve(config_.q_size() * own);
        const auto head_dim = static_cast<std::size_t>(config_.head_dim);
        for (std::size_t h = 0; h < static_cast<std::size_t>(config_.n_head); ++h) {
          std::memcpy(own_queries.data() + h * own * head_dim,
                      window_queries_.data() + (h * window_ + window_ - own) * head_dim,
                      own * head_dim * sizeof(float));
        }
        observation.window_queries = {own_queries.data(), static_cast<std::size_t>(config_.n_head),
                                      own, static_cast<std::size_t>(config_.head_dim)};
        observation.window_positions = plain.window_positions.last(own);
      }
      std::string key = variant.score_key();
      if (variant.scores_depend_on_budget()) key += "|" + std::to_string(run.budget.rows);
      auto found = scored.find(key);
      if (found == scored.end()) {
        found = scored
                    .emplace(key, score_layer(variant, observation, run.budget.rows,
                                              *engine_.kernels, engine_.threads))
                    .first;
      }
      const KeepSets keep = choose_rows(variant, observation, found->second, run.budget.rows, end_);
      RESTKV_TRY(store(run, layer, observation, &keep));
    }
    count_rows(run, layer);
    note_queries(run, layer);
    run.compress_ms += ms_since(start);
    engine_.last_prefill.compress_ms += ms_since(start);
  }
  return {};
}

// keep == nullptr: everything stays.
Result<void> PrefillRun::store(VariantRun& run, int layer, const LayerObservation& observation,
                               const KeepSets* keep) {
  const int sliding = config_.attention_rule(layer).sliding_window;
  for (int h = 0; h < config_.n_kv_head; ++h) {
    const std::size_t rows = observation.heads[static_cast<std::size_t>(h)].positions.size();
    if (keep == nullptr && job_.base != nullptr && sliding == 0) {
      // Rows of earlier turns are already there, in their own type: add the new ones only.
      RESTKV_TRY(run.cache.append_rows(*engine_.kernels, layer, h, *rows_, rows - n_));
      continue;
    }
    if (keep != nullptr) {
      RESTKV_TRY(run.cache.store(*engine_.kernels, layer, h, *rows_,
                                 (*keep)[static_cast<std::size_t>(h)]));
      continue;
    }
    std::vector<std::uint32_t> all(rows);
    std::iota(all.begin(), all.end(), 0U);
    RESTKV_TRY(run.cache.store(*engine_.kernels, layer, h, *rows_, all));
  }
  return {};
}

void PrefillRun::count_rows(VariantRun& run, int layer) {
  // Rows that a full cache would hold: those that earlier turns dropped count as dropped.
  const auto sliding = static_cast<std::size_t>(config_.attention_rule(layer).sliding_window);
  const auto seen = static_cast<std::size_t>(end_);
  const std::size_t visible = sliding > 0 ? std::min(seen, sliding) : seen;
  for (int h = 0; h < config_.n_kv_head; ++h) {
    const std::size_t kept = run.cache.rows(layer, h);
    run.kept_min = std::min(run.kept_min, kept);
    run.kept_max = std::max(run.kept_max, kept);
    run.kept_sum += kept;
    run.visible_sum += visible;
  }
  // The rows of earlier turns are held until the prefill has succeeded.
  const std::size_t own = job_.base != nullptr
                              ? job_.base->bytes() + run.cache.bytes_beyond(*job_.base)
                              : run.cache.bytes();
  // Column sums may be there for another variant of a shared prefill; alone this one has none.
  const bool has_sums = has(run.variant->needs(), Needs::kColumnSums);
  const std::size_t layer_bytes = rows_->bytes() - (has_sums ? 0 : rows_->column_sum_bytes());
  run.peak_bytes = std::max(run.peak_bytes, own + layer_bytes + prefix_bytes(*run.variant));
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
  const auto heads = static_cast<double>(config_.n_layer) * config_.n_kv_head;
  const Variant& variant = *run.variant;
  return {.policy = std::string(variant.policy().name),
          .allocator = std::string(variant.allocator_info().name),
          .options = variant.all_options(),
          .budget = variant.policy().keeps_all ? "100%" : variant.options().budget.text(),
          .budget_rows = run.budget.rows,
          .budget_raised = run.budget.raised,
          .untouched = run.kept_sum == run.visible_sum,
          .prompt_tokens = static_cast<std::size_t>(end_),
          .kept_tokens_min = run.kept_min,
          .kept_tokens_mean = static_cast<double>(run.kept_sum) / heads,
          .kept_tokens_max = run.kept_max,
          .dropped_tokens_mean = static_cast<double>(run.visible_sum - run.kept_sum) / heads,
          .bytes = run.cache.bytes(),
          .bytes_full = full_cache_bytes(run.cache.shape(), static_cast<std::size_t>(end_)),
          .bytes_peak = run.peak_bytes,
          .end_tokens_max = run.kept_max,
          .compress_ms = run.compress_ms,
          .schedule = variant.options().schedule.text(),
          .prefill = sparse_.report()};
}

}  // namespace restkv
