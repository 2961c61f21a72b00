// TOVA (arXiv 2401.06104): the attention that the newest token pays to a token, averaged over all
// query heads of the layer. One score for all KV heads.

#include <algorithm>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "policies/window_attention_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

class Tova final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    const WindowAttention newest(layer, request, /*max_queries=*/1);
    const auto n_head = static_cast<std::size_t>(layer.n_head);
    AlignedArray<float> buffer(n_head * newest.max_rows());
    const View2<float> attention(buffer.data(), n_head, newest.max_rows());
    request.threads->for_each(
        n_head, [&](std::size_t head) { newest.probabilities(head, attention.row(head)); });

    // KV heads of a continued sequence may hold different positions: the mean is over those query
    // heads that have the position.
    const auto end = static_cast<std::size_t>(layer.window_positions.back()) + 1;
    std::vector<float> sums(end, 0.0F);
    std::vector<float> heads(end, 0.0F);
    for (std::size_t head = 0; head < n_head; ++head) {
      const std::span<const Position> positions = layer.heads[newest.kv_head(head)].positions;
      for (std::size_t j = 0; j < positions.size(); ++j) {
        const auto at = static_cast<std::size_t>(positions[j]);
        sums[at] += attention.row(head)[j];
        heads[at] += 1.0F;
      }
    }
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const std::span<const Position> positions = layer.heads[h].positions;
      for (std::size_t j = 0; j < positions.size(); ++j) {
        const auto at = static_cast<std::size_t>(positions[j]);
        scores[h][j] = sums[at] / heads[at];
      }
    }
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<Tova>(); }

}  // namespace

extern const PolicyInfo tova_policy;
constinit const PolicyInfo tova_policy{
    .name = "tova",
    .summary = "attention from the newest token, the same for all heads",
    .paper = "TOVA, arXiv 2401.06104",
    .needs = Needs::kWindowQueries,
    .paper_protection = {},
    .keeps_all = false,
    .scores_depend_on_budget = false,
    .even_window = false,
    .params = {},
    .make = make,
};

}  // namespace restkv
