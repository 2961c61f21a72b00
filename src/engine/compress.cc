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

// Scores with every protected row at +infinity, and nothing else there.
LayerScores with_protection(const Variant& variant, const LayerObservation& layer,
                            const LayerScores& scores, Position next_position,
                            std::vector<std::size_t>& protected_rows) {
  LayerScores result = scores;
  protected_rows.assign(result.size(), 0);
  for (std::size_t h = 0; h < result.size(); ++h) {
    const std::span<const Position> positions = layer.heads[h].positions;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      if (is_protected(variant, positions[i], next_position)) {
        result[h][i] = kProtectedScore;
        ++protected_rows[h];
      } else if (!std::isfinite(result[h][i])) {
        result[h][i] = result[h][i] > 0 ? std::numeric_limits<float>::max()
                                        : std::numeric_limits<float>::lowest();
      }
    }
  }
  return result;
}

std::vector<std::span<const float>> spans_of(const LayerScores& scores) {
  return {scores.begin(), scores.end()};
}

}  // namespace

bool over_budget(const LayerObservation& layer, std::size_t budget) {
  return std::ranges::any_of(layer.heads,
                             [&](const HeadRows& head) { return head.positions.size() > budget; });
}

LayerScores score_layer(const Variant& variant, const LayerObservation& layer, std::size_t budget,
                        const KernelTable& kernels, const Threads& threads) {
  LayerScores scores;
  for (const HeadRows& head : layer.heads) scores.emplace_back(head.positions.size(), 0.0F);
  const std::vector<std::span<float>> views(scores.begin(), scores.end());
  const ScoreRequest request{.budget = budget,
                             .window = variant.window(),
                             .seed = variant.options().seed,
                             .kernels = &kernels,
                             .threads = &threads,
                             .trace = nullptr};
  variant.scorer().score(layer, request, views);
  return scores;
}

KeepSets choose_rows(const Variant& variant, const LayerObservation& layer,
                     const LayerScores& scores, std::size_t budget, Position next_position) {
  std::vector<std::size_t> protected_rows;
  const LayerScores effective =
      with_protection(variant, layer, scores, next_position, protected_rows);
  std::vector<std::size_t> rows;
  for (const HeadRows& head : layer.heads) rows.push_back(head.positions.size());
  const std::vector<std::span<const float>> views = spans_of(effective);

  std::vector<std::size_t> counts(rows.size(), 0);
  const AllocationRequest request{.layer = layer.layer,
                                  .n_layer = layer.n_layer,
                                  .budget = budget,
                                  .window = variant.window(),
                                  .rows = rows,
                                  .protected_rows = protected_rows,
                                  .scores = variant.allocator_info().needs_scores
                                                ? std::span<const std::span<const float>>(views)
                                                : std::span<const std::span<const float>>()};
  variant.allocator().allocate(request, counts);

  KeepSets keep(rows.size());
  for (std::size_t h = 0; h < rows.size(); ++h) {
    const std::size_t count = std::clamp(counts[h], std::min(protected_rows[h], rows[h]), rows[h]);
    top_k(effective[h], count, keep[h]);
  }
  return keep;
}

}  // namespace restkv
