#include "engine/layer_pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/top_k.h"
#include "cache/kv_cache.h"

namespace restkv {
namespace {

constexpr float kMax = std::numeric_limits<float>::max();

// Divides what is not protected by the allocator's unit for the layer. Scores that were infinite
// stay at the ends of the scale, and have no part in its size.
void make_comparable(const Allocator& allocator, double output_norm, LayerScores& scores) {
  ScoreScale scale{.mass = 0, .output_norm = output_norm};
  for (const std::vector<float>& head : scores) {
    for (const float score : head) {
      if (std::abs(score) < kMax) scale.mass += std::abs(static_cast<double>(score));
    }
  }
  const double unit = allocator.score_unit(scale);
  if (!(unit > 0)) return;
  for (std::vector<float>& head : scores) {
    for (float& score : head) {
      if (!(std::abs(score) < kMax)) continue;
      const double quotient = static_cast<double>(score) / unit;
      score = static_cast<float>(std::clamp<double>(quotient, -kMax, kMax));
    }
  }
}

}  // namespace

std::size_t pool_rows(const ModelConfig& config, int sets, std::size_t budget, std::size_t tokens) {
  std::size_t rows = 0;
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const std::size_t most = full_rows(config.attention_rule(layer).sliding_window, tokens);
    rows += std::min(budget, most) * static_cast<std::size_t>(config.n_kv_head * sets);
  }
  return rows;
}

LayerPool::LayerPool(const Variant& variant, Size size, ByteCounter& counter)
    : variant_(variant), size_(size), counter_(counter) {}

LayerPool::~LayerPool() { counter_.remove(bytes_); }

std::vector<KeepSets> LayerPool::add(const Layer& layer) {
  ProtectedScores added =
      protect_scores(variant_, layer.observation, layer.scores, layer.next_position);
  make_comparable(variant_.allocator(), layer.output_norm, added.scores);
  const std::size_t n_kv_head = added.scores.size();
  for (std::size_t h = 0; h < n_kv_head; ++h) {
    scores_.push_back(std::move(added.scores[h]));
    protected_.push_back(added.rows[h]);
  }
  const std::vector<std::size_t> kept = counts(layer.observation);
  std::vector<KeepSets> keep;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (keep.empty() || keep.back().size() == n_kv_head) keep.emplace_back();
    std::vector<std::uint32_t>& rows = keep.back().emplace_back();
    top_k(scores_[i], kept[i], rows);
    std::vector<float> left;
    left.reserve(rows.size());
    for (const std::uint32_t row : rows) left.push_back(scores_[i][row]);
    bytes += left.size() * sizeof(float);
    scores_[i] = std::move(left);
  }
  counter_.remove(bytes_);
  counter_.add(bytes);
  bytes_ = bytes;
  return keep;
}

// What the allocator gives to each head so far, within [protected, rows].
std::vector<std::size_t> LayerPool::counts(const LayerObservation& last) const {
  std::vector<std::size_t> rows;
  for (const std::vector<float>& head : scores_) rows.push_back(head.size());
  const std::vector<std::span<const float>> scores(scores_.begin(), scores_.end());
  std::vector<std::size_t> counts(rows.size(), 0);
  variant_.allocator().allocate({.layer = last.layer,
                                 .n_layer = last.n_layer,
                                 .budget = size_.budget,
                                 .pool = size_.rows,
                                 .window = variant_.window(),
                                 .rows = rows,
                                 .protected_rows = protected_,
                                 .scores = scores},
                                counts);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i] = std::clamp(counts[i], protected_[i], rows[i]);
  }
  return counts;
}

Result<void> drop_rows(KvCache& cache, std::span<const KeepSets> keep) {
  const auto sets = static_cast<std::size_t>(cache.shape().sets);
  for (std::size_t layer = 0; layer < keep.size(); ++layer) {
    for (std::size_t h = 0; h < keep[layer].size() / sets; ++h) {
      const auto l = static_cast<int>(layer);
      const auto head = static_cast<int>(h);
      const auto rows = std::span(keep[layer]).subspan(h * sets, sets);
      const std::size_t first = cache.first_change(l, head, rows);
      if (first >= cache.rows(l, head)) continue;
      RESTKV_TRY(cache.make_writable(l, head, first));
      cache.keep_rows(l, head, rows);
    }
  }
  return {};
}

double norm_of(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

}  // namespace restkv
