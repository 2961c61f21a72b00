#include "engine/step_schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/clock.h"
#include "engine/layer_pool.h"

namespace restkv {
namespace {

// weights[row] = mean over the group of softmax(logits). The order of sums depends on the rows
// only.
void mean_probabilities(const float* logits, std::size_t stride, std::size_t group,
                        std::span<float> weights) {
  std::ranges::fill(weights, 0.0F);
  for (std::size_t g = 0; g < group; ++g) {
    const std::span<const float> row(logits + g * stride, weights.size());
    const float max = *std::ranges::max_element(row);
    double sum = 0;
    for (const float logit : row) sum += std::exp(logit - max);
    const auto share = static_cast<float>(1.0 / (sum * static_cast<double>(group)));
    for (std::size_t i = 0; i < row.size(); ++i) weights[i] += std::exp(row[i] - max) * share;
  }
}

// weights[i] = softmax(logits) of row rows[i], over these rows.
void probabilities(const float* logits, std::span<const std::uint32_t> rows,
                   std::span<float> weights) {
  for (std::size_t i = 0; i < rows.size(); ++i) weights[i] = logits[rows[i]];
  const float max = *std::ranges::max_element(weights);
  double sum = 0;
  for (const float logit : weights) sum += std::exp(logit - max);
  const auto share = static_cast<float>(1.0 / sum);
  for (float& weight : weights) weight = std::exp(weight - max) * share;
}

// Leaves of each head's rows those that are named by their place among them.
void keep_of_kept(const KeepSets& places, KeepSets& rows) {
  for (std::size_t h = 0; h < rows.size(); ++h) {
    std::vector<std::uint32_t> left;
    left.reserve(places[h].size());
    for (const std::uint32_t place : places[h]) left.push_back(rows[h][place]);
    rows[h] = std::move(left);
  }
}

}  // namespace

StepSchedule::StepSchedule(Engine::State& engine, std::span<Sequence::State* const> sequences)
    : engine_(engine), config_(engine.model->config()) {
  const auto heads = static_cast<std::size_t>(config_.n_kv_head);
  for (Sequence::State* sequence : sequences) {
    const Variant& variant = *sequence->variant;
    const Schedule& schedule = variant.options().schedule;
    Watch watch;
    watch.sequence = sequence;
    const auto seen = static_cast<std::size_t>(sequence->next_position) + 1;
    watch.budget = variant.budget_rows(seen);
    if (schedule.acts_in_decode() && !variant.policy().keeps_all) {
      watch.due = schedule.kind == Schedule::Kind::kCap ||
                  sequence->generated.steps + 1 >= schedule.interval;
      watch.compress = watch.due && seen > watch.budget.rows;
      watch.newest = watch.compress && variant.newest_query_only();
    }
    // Where nothing goes before the next turn, that turn chooses by what the answer looked at too.
    // A selector computes a part of the attention of a step, which says nothing about the others.
    watch.sums = has(variant.needs(), Needs::kColumnSums) && !variant.policy().keeps_all &&
                 variant.selection() == nullptr;
    if (watch.compress) watch.keep.resize(static_cast<std::size_t>(config_.n_layer));
    if (watch.watched()) {
      watch.weights.resize(static_cast<std::size_t>(config_.n_layer) * heads * watch.sets());
      watch.held.resize(heads * watch.sets());
    }
    if (watch.compress) watch.cursors = sequence->cursors;
    watch.logits.resize(heads);
    watch.output_norms.resize(static_cast<std::size_t>(config_.n_layer));
    watches_.push_back(std::move(watch));
  }
}

void StepSchedule::begin_layer(int layer) {
  const auto group = static_cast<std::size_t>(config_.group());
  std::size_t size = 0;
  for (const Watch& watch : watches_) {
    if (!watch.watched()) continue;
    for (int h = 0; h < config_.n_kv_head; ++h) size += watch.sequence->cache.rows(layer, h);
  }
  logits_.reserve(size * group);
  float* next = logits_.data();
  for (Watch& watch : watches_) {
    if (!watch.watched()) continue;
    for (std::size_t h = 0; h < watch.logits.size(); ++h) {
      const std::size_t rows = watch.sequence->cache.rows(layer, static_cast<int>(h));
      watch.logits[h] = {.data = next, .stride = rows};
      // Everything is allocated here: a worker must not throw.
      for (std::size_t own = 0; own < watch.sets(); ++own) {
        const std::size_t set = h * watch.sets() + own;
        std::vector<float>& weights =
            watch.weights[static_cast<std::size_t>(layer) * watch.logits.size() * watch.sets() +
                          set];
        if (watch.sets() == 1) {
          weights.resize(rows);
        } else {
          watch.held[set] = watch.sequence->cache.held_rows(layer, static_cast<int>(set));
          weights.resize(watch.held[set].size());
        }
      }
      next += rows * group;
    }
  }
}

StepSchedule::Logits StepSchedule::logits(std::size_t sequence, std::size_t head) const {
  return watches_[sequence].logits[head];
}

void StepSchedule::end_layer(int layer, View2<const float> q) {
  const auto heads = static_cast<std::size_t>(config_.n_kv_head);
  engine_.threads.for_each(watches_.size() * heads, [&](std::size_t item) {
    Watch& watch = watches_[item / heads];
    if (watch.watched()) weigh(watch, layer, item % heads);
  });
  for (std::size_t s = 0; s < watches_.size(); ++s) {
    QueryRing& queries = watches_[s].sequence->queries;
    if (!queries.keeps_any()) continue;
    queries.put(static_cast<std::size_t>(layer), /*ahead=*/0, q.row(s).data(),
                static_cast<std::size_t>(config_.head_dim));
  }
}

// The attention that the step pays to the rows of a KV head, or to those of each of its sets.
void StepSchedule::weigh(Watch& watch, int layer, std::size_t head) const {
  const Logits& logits = watch.logits[head];
  const std::size_t sets = watch.sets();
  const std::size_t first = (static_cast<std::size_t>(layer) * watch.logits.size() + head) * sets;
  if (sets == 1) {
    mean_probabilities(logits.data, logits.stride, static_cast<std::size_t>(config_.group()),
                       watch.weights[first]);
    return;
  }
  for (std::size_t g = 0; g < sets; ++g) {
    probabilities(logits.data + g * logits.stride, watch.held[head * sets + g],
                  watch.weights[first + g]);
  }
}

void StepSchedule::note_hidden(int layer, View2<const float> hidden) {
  for (std::size_t s = 0; s < watches_.size(); ++s) {
    Watch& watch = watches_[s];
    if (!watch.compress || !watch.sequence->variant->allocator_info().across_layers) continue;
    watch.output_norms[static_cast<std::size_t>(layer)] = norm_of(hidden.row(s));
  }
}

Result<void> StepSchedule::choose() {
  for (Watch& watch : watches_) {
    const Clock::time_point start = Clock::now();
    if (watch.compress) {
      const bool across = watch.sequence->variant->allocator_info().across_layers;
      RESTKV_TRY(across ? compete(watch) : choose(watch));
    }
    RESTKV_TRY(make_writable(watch));
    watch.compress_ms = ms_since(start);
  }
  dropped_.assign(watches_.size() * static_cast<std::size_t>(config_.n_layer) *
                      static_cast<std::size_t>(config_.n_kv_head),
                  0);
  return {};
}

Result<void> StepSchedule::choose(Watch& watch) {
  const Variant& variant = *watch.sequence->variant;
  const Position end = watch.sequence->next_position + 1;
  Shown shown;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    show(watch, layer, shown);
    const std::size_t full =
        full_rows(config_.attention_rule(layer).sliding_window, static_cast<std::size_t>(end));
    if (!must_drop(variant, shown.observation, watch.budget.rows, end, full)) continue;
    RESTKV_TRY(show_rows(watch, layer, shown));
    const LayerScores scores = score_layer(variant, shown.observation, watch.budget.rows,
                                           *engine_.kernels, engine_.threads);
    const std::vector<PolicyCut> cuts =
        watch.cursors.move_on(variant, shown.observation, watch.budget.rows);
    watch.keep[static_cast<std::size_t>(layer)] =
        choose_rows(variant, shown.observation, scores, watch.budget.rows, end, full, cuts);
  }
  return {};
}

// All layers for one pool; the caches still hold everything, so what each layer loses is gathered.
Result<void> StepSchedule::compete(Watch& watch) {
  const Variant& variant = *watch.sequence->variant;
  const KvCache& cache = watch.sequence->cache;
  const Position end = watch.sequence->next_position + 1;
  const int sets = cache.shape().sets;
  const std::size_t rows =
      pool_rows(config_, sets, watch.budget.rows, static_cast<std::size_t>(end));
  std::size_t held = 0;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    for (int set = 0; set < config_.n_kv_head * sets; ++set) {
      held += cache.held_count(layer, set);
    }
  }
  if (held <= rows) return {};
  LayerPool pool(variant, {.budget = watch.budget.rows, .rows = rows}, *engine_.counter);
  Shown shown;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    const auto at = static_cast<std::size_t>(layer);
    show(watch, layer, shown);
    LayerScores scores;
    for (const auto& positions : shown.positions) scores.emplace_back(positions.size(), 0.0F);
    if (any_to_score(variant, shown.observation, end)) {
      RESTKV_TRY(show_rows(watch, layer, shown));
      scores = score_layer(variant, shown.observation, watch.budget.rows, *engine_.kernels,
                           engine_.threads);
      watch.cursors.move_on(variant, shown.observation, watch.budget.rows);
    }
    const std::vector<KeepSets> keep = pool.add({.observation = shown.observation,
                                                 .scores = scores,
                                                 .next_position = end,
                                                 .output_norm = watch.output_norms[at]});
    watch.keep[at] = keep[at];
    for (std::size_t earlier = 0; earlier < at; ++earlier) {
      keep_of_kept(keep[earlier], watch.keep[earlier]);
    }
  }
  return {};
}

// Everything that costs little: no keys and no values.
void StepSchedule::show(const Watch& watch, int layer, Shown& shown) {
  const KvCache& cache = watch.sequence->cache;
  const std::size_t heads = static_cast<std::size_t>(config_.n_kv_head) * watch.sets();
  shown.positions.resize(heads);
  shown.sums.resize(heads);
  shown.heads.assign(heads, {});
  shown.sum_views.clear();
  shown.newest_views.clear();
  for (std::size_t h = 0; h < heads; ++h) {
    shown.positions[h] = cache.held_positions(layer, static_cast<int>(h));
    shown.heads[h].positions = shown.positions[h];
    if (!watch.watched()) continue;
    const std::vector<float>& weights = watch.weights[static_cast<std::size_t>(layer) * heads + h];
    if (watch.newest) shown.newest_views.emplace_back(weights);
    if (!watch.sums) continue;
    shown.sums[h] = cache.column_sums(layer, static_cast<int>(h));
    for (std::size_t i = 0; i < weights.size(); ++i) shown.sums[h][i] += weights[i];
    shown.sum_views.emplace_back(shown.sums[h]);
  }
  shown.query_positions = {watch.sequence->next_position};
  shown.observation = {.layer = layer,
                       .n_layer = config_.n_layer,
                       .n_head = config_.n_head,
                       .n_kv_head = static_cast<int>(heads),
                       .head_dim = config_.head_dim,
                       .attention = config_.attention_rule(layer),
                       .heads = shown.heads,
                       .window_queries = {},
                       .window_positions = shown.query_positions,
                       .output_factors = {},
                       .column_sums = shown.sum_views,
                       .newest_attention = shown.newest_views,
                       .cursors = watch.cursors.of(layer, heads)};
}

// The rest, as far as the policy looks at it.
Result<void> StepSchedule::show_rows(const Watch& watch, int layer, Shown& shown) {
  const Variant& variant = *watch.sequence->variant;
  const KvCache& cache = watch.sequence->cache;
  if (has(variant.needs(), Needs::kOutputProjection)) {
    shown.observation.output_factors =
        engine_.model->output_factors(*engine_.kernels, engine_.threads, layer);
  }
  if (has(variant.needs(), Needs::kOutputColumns)) {
    const auto n_head = static_cast<std::size_t>(config_.n_head);
    const auto head_dim = static_cast<std::size_t>(config_.head_dim);
    const auto n_embd = static_cast<std::size_t>(config_.n_embd);
    output_columns_.reserve(n_head * head_dim * n_embd);
    const View3<float> columns{output_columns_.data(), n_head, head_dim, n_embd};
    engine_.model->output_columns(layer, columns);
    shown.observation.output_columns = columns;
  }
  const QueryRing& queries = watch.sequence->queries;
  if (queries.keeps_any()) {
    const std::size_t n = queries.count(/*ahead=*/1);
    shown.queries.reserve(config_.q_size() * n);
    queries.copy(static_cast<std::size_t>(layer), /*ahead=*/1, shown.queries.data());
    shown.query_positions.resize(n);
    std::iota(shown.query_positions.begin(), shown.query_positions.end(),
              watch.sequence->next_position + 1 - static_cast<Position>(n));
    shown.observation.window_positions = shown.query_positions;
    shown.observation.window_queries = {shown.queries.data(),
                                        static_cast<std::size_t>(config_.n_head), n,
                                        static_cast<std::size_t>(config_.head_dim)};
  }
  if (!variant.reads_rows() || watch.newest) return {};
  const CacheShape& shape = cache.shape();
  const KvType type = working_type(shape.type_k, shape.type_v);
  const int heads = shown.observation.n_kv_head;
  if (!dense_ || dense_->shape().type != type || dense_->shape().n_kv_head != heads) {
    dense_.emplace(LayerRows::Shape{.n_kv_head = heads,
                                    .head_dim = config_.head_dim,
                                    .type = type,
                                    .with_column_sums = false},
                   *engine_.counter);
  }
  std::vector<std::size_t> capacity;
  for (const auto& positions : shown.positions) capacity.push_back(positions.size());
  RESTKV_TRY(dense_->reset(capacity));
  cache.load(*engine_.kernels, layer, *dense_);
  for (std::size_t h = 0; h < shown.heads.size(); ++h) {
    shown.heads[h] = dense_->view(static_cast<int>(h));
  }
  return {};
}

Result<void> StepSchedule::make_writable(Watch& watch) {
  KvCache& cache = watch.sequence->cache;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    for (int h = 0; h < config_.n_kv_head; ++h) {
      std::size_t first = cache.rows(layer, h);
      if (watch.sums) {
        first = 0;
      } else if (watch.compress && !watch.keep[static_cast<std::size_t>(layer)].empty()) {
        const KeepSets& keep = watch.keep[static_cast<std::size_t>(layer)];
        first = cache.first_change(
            layer, h,
            std::span(keep).subspan(static_cast<std::size_t>(h) * watch.sets(), watch.sets()));
      }
      if (first < cache.rows(layer, h)) RESTKV_TRY(cache.make_writable(layer, h, first));
    }
  }
  return {};
}

void StepSchedule::apply() {
  const auto heads = static_cast<std::size_t>(config_.n_kv_head);
  const std::size_t all_heads = static_cast<std::size_t>(config_.n_layer) * heads;
  engine_.threads.for_each(dropped_.size(), [&](std::size_t item) {
    Watch& watch = watches_[item / all_heads];
    const std::size_t at = item % all_heads;
    const std::size_t layer = at / heads;
    const auto head = static_cast<int>(at % heads);
    const std::size_t sets = watch.sets();
    KvCache& cache = watch.sequence->cache;
    const auto set_of = [&](std::size_t own) { return static_cast<int>(at % heads * sets + own); };
    for (std::size_t own = 0; watch.sums && own < sets; ++own) {
      cache.add_to_sums(static_cast<int>(layer), set_of(own), watch.weights[at * sets + own]);
    }
    if (!watch.compress || watch.keep[layer].empty()) return;
    const auto keep = std::span(watch.keep[layer]).subspan(at % heads * sets, sets);
    for (std::size_t own = 0; own < sets; ++own) {
      const std::size_t held = cache.held_count(static_cast<int>(layer), set_of(own));
      dropped_[item] += held - keep[own].size();
    }
    if (dropped_[item] > 0) cache.keep_rows(static_cast<int>(layer), head, keep);
  });
  for (std::size_t s = 0; s < watches_.size(); ++s) {
    Watch& watch = watches_[s];
    Sequence::State& sequence = *watch.sequence;
    if (watch.compress) sequence.cursors = std::move(watch.cursors);
    if (sequence.queries.keeps_any()) sequence.queries.advance(1);
    ++sequence.next_position;
    const auto first = dropped_.begin() + static_cast<std::ptrdiff_t>(s * all_heads);
    const std::size_t gone =
        std::accumulate(first, first + static_cast<std::ptrdiff_t>(all_heads), std::size_t{0});
    GeneratedCounts& counts = sequence.generated;
    counts.steps = watch.due ? 0 : counts.steps + 1;
    counts.compressions += gone > 0 ? 1 : 0;
    // Rows have moved: the summaries are of blocks that are no more.
    if (gone > 0) sequence.summaries.clear();
    counts.dropped_rows += gone;
    counts.compress_ms += watch.compress_ms;
  }
}

}  // namespace restkv
