#include "engine/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <numbers>
#include <numeric>

#include "base/random.h"
#include "engine/compress.h"
#include "engine/layer_pool.h"
#include "engine/row_report.h"

namespace restkv {
namespace {

// Rows repeat after so many: enough that none stays in a first-level cache, few enough that filling
// is a matter of copying. A prime, so that pages never look alike.
constexpr std::size_t kPoolRows = 1021;

double uniform(std::uint64_t bits) { return (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53; }

// Standard normal numbers by the method of Box and Muller (1958).
std::vector<float> normal_numbers(std::size_t n, std::uint64_t seed) {
  std::vector<float> numbers(n);
  std::uint64_t state = seed;
  for (float& number : numbers) {
    const double radius = std::sqrt(-2.0 * std::log(uniform(next_random(state))));
    const double angle = 2.0 * std::numbers::pi * uniform(next_random(state));
    number = static_cast<float>(radius * std::cos(angle));
  }
  return numbers;
}

class SyntheticFill {
 public:
  SyntheticFill(Engine::State& engine, std::shared_ptr<const Variant> variant, std::size_t n_token)
      : engine_(engine),
        config_(engine.model->config()),
        variant_(std::move(variant)),
        n_(n_token),
        dim_(static_cast<std::size_t>(config_.head_dim)),
        pool_(normal_numbers(2 * kPoolRows * dim_, variant_->options().seed)),
        cache_(engine.cache_shape(*variant_), engine.counter) {}

  Result<Sequence::State> run();

 private:
  Result<void> fill_rows(LayerRows& rows, std::size_t count);
  Result<void> store_layer(const LayerRows& rows, int layer);
  Result<KeepSets> choose(const LayerObservation& observation);
  void make_pool();
  [[nodiscard]] LayerScores scores(int layer, std::size_t rows) const;

  Engine::State& engine_;
  const ModelConfig& config_;
  std::shared_ptr<const Variant> variant_;
  std::size_t n_;
  std::size_t dim_;
  std::vector<float> pool_;  // kPoolRows keys, then as many values
  KvCache cache_;
  std::unique_ptr<LayerPool> layer_pool_ = nullptr;  // where all layers compete and rows have to go
};

Result<Sequence::State> SyntheticFill::run() {
  const CacheShape shape = cache_.shape();
  LayerRows rows({.n_kv_head = config_.n_kv_head,
                  .head_dim = config_.head_dim,
                  .type = working_type(shape.type_k, shape.type_v),
                  .with_column_sums = shape.with_column_sums},
                 *engine_.counter);
  make_pool();
  std::size_t filled = 0;
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    const int window = config_.attention_rule(layer).sliding_window;
    const std::size_t count = full_rows(window, n_);
    if (layer == 0 || count != filled) RESTKV_TRY(fill_rows(rows, count));
    filled = count;
    RESTKV_TRY(store_layer(rows, layer));
  }
  KvReport report = row_report(config_, *variant_, variant_->budget_rows(n_), cache_, n_);
  report.bytes_peak = report.bytes + rows.bytes();
  QueryRing queries = engine_.query_ring(*variant_);
  return Sequence::State{.variant = std::move(variant_),
                         .cache = std::move(cache_),
                         .next_position = static_cast<Position>(n_),
                         .report = std::move(report),
                         .queries = std::move(queries)};
}

// The newest `count` positions, the same for every layer that holds as many.
Result<void> SyntheticFill::fill_rows(LayerRows& rows, std::size_t count) {
  const std::vector<std::size_t> capacity(static_cast<std::size_t>(config_.n_kv_head), count);
  RESTKV_TRY(rows.reset(capacity));
  engine_.threads.for_each(capacity.size(), [&](std::size_t h) {
    for (std::size_t i = n_ - count; i < n_; ++i) {
      const float* const key = pool_.data() + (i + 17 * h) % kPoolRows * dim_;
      rows.append(*engine_.kernels, static_cast<int>(h), static_cast<Position>(i), key,
                  key + kPoolRows * dim_, /*column_sum=*/0.0F);
    }
  });
  return {};
}

LayerScores SyntheticFill::scores(int layer, std::size_t rows) const {
  LayerScores scores(static_cast<std::size_t>(config_.n_kv_head));
  for (std::size_t h = 0; h < scores.size(); ++h) {
    for (std::size_t i = 0; i < rows; ++i) {
      scores[h].push_back(static_cast<float>(
          uniform(random_at(variant_->options().seed, static_cast<std::uint64_t>(layer), h, i))));
    }
  }
  return scores;
}

Result<void> SyntheticFill::store_layer(const LayerRows& rows, int layer) {
  std::vector<HeadRows> heads;
  for (int h = 0; h < config_.n_kv_head; ++h) heads.push_back(rows.view(h));
  LayerObservation observation;
  observation.layer = layer;
  observation.n_layer = config_.n_layer;
  observation.n_head = config_.n_head;
  observation.n_kv_head = config_.n_kv_head;
  observation.head_dim = config_.head_dim;
  observation.heads = heads;
  RESTKV_ASSIGN(const KeepSets keep, choose(observation));
  for (int h = 0; h < config_.n_kv_head; ++h) {
    RESTKV_TRY(cache_.store(*engine_.kernels, layer, h, rows, keep[static_cast<std::size_t>(h)]));
  }
  return {};
}

// Which rows of the layer stay; a pool takes from earlier layers what it gives to this one. Of a
// layer's output nothing is known.
Result<KeepSets> SyntheticFill::choose(const LayerObservation& observation) {
  const std::size_t count = observation.heads[0].positions.size();
  const std::size_t budget = variant_->budget_rows(n_).rows;
  const auto end = static_cast<Position>(n_);
  if (layer_pool_) {
    const LayerScores made = scores(observation.layer, count);
    std::vector<KeepSets> keep = layer_pool_->add(
        {.observation = observation, .scores = made, .next_position = end, .output_norm = 0});
    RESTKV_TRY(drop_rows(cache_, std::span(keep).first(keep.size() - 1)));
    return std::move(keep.back());
  }
  if (variant_->policy().keeps_all || variant_->allocator_info().across_layers || count <= budget) {
    KeepSets keep(observation.heads.size(), std::vector<std::uint32_t>(count));
    for (std::vector<std::uint32_t>& all : keep) std::iota(all.begin(), all.end(), 0U);
    return keep;
  }
  return choose_rows(*variant_, observation, scores(observation.layer, count), budget, end);
}

void SyntheticFill::make_pool() {
  const std::size_t budget = variant_->budget_rows(n_).rows;
  const bool competes = variant_->allocator_info().across_layers && !variant_->policy().keeps_all;
  if (!competes || n_ <= budget) return;
  layer_pool_ = std::make_unique<LayerPool>(
      *variant_,
      LayerPool::Size{.budget = budget, .rows = pool_rows(config_, /*sets=*/1, budget, n_)},
      *engine_.counter);
}

}  // namespace

Result<Sequence::State> make_synthetic_sequence(Engine::State& engine,
                                                std::shared_ptr<const Variant> variant,
                                                std::size_t n_token) {
  const Error no_memory{ErrorCode::kOutOfMemory,
                        "no memory for a made-up cache of " + std::to_string(n_token) + " tokens"};
  if (n_token > static_cast<std::size_t>(std::numeric_limits<Position>::max())) return no_memory;
  try {
    return SyntheticFill(engine, std::move(variant), n_token).run();
  } catch (const std::bad_alloc&) {
    return no_memory;
  }
}

}  // namespace restkv
