// Observed attention (NVIDIA/kvpress): as H2O the attention that a token has received from all
// queries, but divided by the number of queries that could see it. That takes away H2O's favour for
// early tokens.

#include <algorithm>

#include "restkv/policy.h"

namespace restkv {
namespace {

class ObservedAttention final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& /*request*/,
             std::span<const std::span<float>> scores) const override {
    const int sliding = layer.attention.sliding_window;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const std::span<const Position> positions = layer.heads[h].positions;
      const Position end = positions.back() + 1;
      for (std::size_t j = 0; j < positions.size(); ++j) {
        Position queries = end - positions[j];
        if (sliding > 0) queries = std::min<Position>(queries, sliding);
        scores[h][j] = layer.column_sums[h][j] / static_cast<float>(queries);
      }
    }
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) {
  return std::make_unique<ObservedAttention>();
}

}  // namespace

extern const PolicyInfo observed_attention_policy;
constinit const PolicyInfo observed_attention_policy{
    .name = "observed-attention",
    .summary = "mean attention received from the tokens that could see it",
    .paper = "NVIDIA/kvpress; after H2O, arXiv 2306.14048",
    .needs = Needs::kColumnSums,
    .reads_rows = false,
    .make = make,
};

}  // namespace restkv
