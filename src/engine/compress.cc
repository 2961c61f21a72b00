#include "engine/compress.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/top_k.h"

namespace restkv {
namespace {

constexpr float kProtectedScore = std::numeric_limits<float>::infinity();

bool is_protected(const Variant& variant, Position position, Position next_position) {
  const Protection& protection = variant.protection();
  if (position < protection.sinks) return true;
  return protection.window &&
         position >= next_position - static_cast<Position>(variant.options().window);
}

std::vector<std::span<const float>> spans_of(const LayerScores& scores) {
  return {scores.begin(), scores.end()};
}

std::vector<std::size_t> rows_of(const LayerObservation& layer) {
  std::vector<std::size_t> rows;
  for (const HeadRows& head : layer.heads) rows.push_back(head.positions.size());
  return rows;
}

ScoreRequest request_of(const Variant& variant, std::size_t budget, const KernelTable* kernels,
                        const Threads* threads) {
  return {.budget = budget,
          .window = variant.window(),
          .seed = variant.options().seed,
          .group_score = variant.options().group_score,
          .kernels = kernels,
          .threads = threads,
          .trace = nullptr};
}

struct Division {
  std::size_t budget = 0;
  std::size_t full_rows = 0;
  std::span<const std::size_t> protected_rows;
};

// What the allocator gives to each head, within [protected, rows].
std::vector<std::size_t> allocated(const Variant& variant, const LayerObservation& layer,
                                   const Division& division,
                                   std::span<const std::span<const float>> scores) {
  const bool needs_scores = variant.allocator_info().needs_scores;
  const std::vector<std::size_t> held = rows_of(layer);
  std::vector<std::size_t> rows = held;
  if (division.full_rows > 0 && !needs_scores) std::ranges::fill(rows, division.full_rows);
  std::vector<std::size_t> counts(rows.size(), 0);
  variant.allocator().allocate(
      {.layer = layer.layer,
       .n_layer = layer.n_layer,
       .budget = division.budget,
       .window = variant.window(),
       .rows = rows,
       .protected_rows = division.protected_rows,
       .scores = needs_scores ? scores : std::span<const std::span<const float>>()},
      counts);
  for (std::size_t h = 0; h < counts.size(); ++h) {
    counts[h] = std::clamp(counts[h], std::min(division.protected_rows[h], held[h]), held[h]);
  }
  return counts;
}

}  // namespace

LayerScores score_layer(const Variant& variant, const LayerObservation& layer, std::size_t budget,
                        const KernelTable& kernels, const Threads& threads) {
  LayerScores scores;
  for (const HeadRows& head : layer.heads) scores.emplace_back(head.positions.size(), 0.0F);
  const std::vector<std::span<float>> views(scores.begin(), scores.end());
  variant.scorer().score(layer, request_of(variant, budget, &kernels, &threads), views);
  return scores;
}

void replay_layer(const Variant& variant, const LayerObservation& layer, const KernelTable& kernels,
                  const Threads& threads, LayerScores& worth) {
  const std::vector<std::span<float>> views(worth.begin(), worth.end());
  variant.scorer().replay(layer, request_of(variant, /*budget=*/0, &kernels, &threads), views);
}

std::vector<PolicyCut> cut_layer(const Variant& variant, const LayerObservation& layer,
                                 std::size_t budget) {
  std::vector<PolicyCut> cuts;
  if (!has(variant.needs(), Needs::kCursor)) return cuts;
  const ScoreRequest request = request_of(variant, budget, nullptr, nullptr);
  for (std::size_t h = 0; h < layer.heads.size(); ++h) {
    cuts.push_back(variant.scorer().cut(layer, request, h));
  }
  return cuts;
}

ProtectedScores protect_scores(const Variant& variant, const LayerObservation& layer,
                               const LayerScores& scores, Position next_position) {
  ProtectedScores result{.scores = scores, .rows = std::vector<std::size_t>(scores.size(), 0)};
  for (std::size_t h = 0; h < scores.size(); ++h) {
    const std::span<const Position> positions = layer.heads[h].positions;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      float& score = result.scores[h][i];
      if (is_protected(variant, positions[i], next_position)) {
        score = kProtectedScore;
        ++result.rows[h];
      } else if (!std::isfinite(score)) {
        score =
            score > 0 ? std::numeric_limits<float>::max() : std::numeric_limits<float>::lowest();
      }
    }
  }
  return result;
}

bool any_to_score(const Variant& variant, const LayerObservation& layer, Position next_position) {
  return std::ranges::any_of(layer.heads, [&](const HeadRows& head) {
    return std::ranges::any_of(head.positions, [&](Position position) {
      return !is_protected(variant, position, next_position);
    });
  });
}

KeepSets choose_rows(const Variant& variant, const LayerObservation& layer,
                     const LayerScores& scores, std::size_t budget, Position next_position,
                     std::size_t full_rows, std::span<const PolicyCut> cuts) {
  const ProtectedScores effective = protect_scores(variant, layer, scores, next_position);
  const std::vector<std::span<const float>> views = spans_of(effective.scores);
  std::vector<std::size_t> counts = allocated(
      variant, layer, {.budget = budget, .full_rows = full_rows, .protected_rows = effective.rows},
      views);
  for (std::size_t h = 0; h < cuts.size(); ++h) {
    counts[h] -= std::min(cuts[h].spare, counts[h] - std::min(effective.rows[h], counts[h]));
  }
  KeepSets keep(counts.size());
  for (std::size_t h = 0; h < counts.size(); ++h) {
    top_k(effective.scores[h], counts[h], keep[h]);
  }
  return keep;
}

bool must_drop(const Variant& variant, const LayerObservation& layer, std::size_t budget,
               Position next_position, std::size_t full_rows) {
  const std::vector<std::size_t> rows = rows_of(layer);
  if (variant.allocator_info().needs_scores) {
    // Its counts are not known without scores, but their sum is the layer's budget, or about so.
    return std::accumulate(rows.begin(), rows.end(), std::size_t{0}) > budget * rows.size();
  }
  std::vector<std::size_t> protected_rows;
  for (const HeadRows& head : layer.heads) {
    protected_rows.push_back(
        static_cast<std::size_t>(std::ranges::count_if(head.positions, [&](Position position) {
          return is_protected(variant, position, next_position);
        })));
  }
  const std::vector<std::size_t> counts =
      allocated(variant, layer,
                {.budget = budget, .full_rows = full_rows, .protected_rows = protected_rows}, {});
  return counts != rows;
}

}  // namespace restkv
