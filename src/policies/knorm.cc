// Knorm (arXiv 2406.11430): keys of small norm tend to draw attention. Needs no queries; a floor
// that a better method has to beat.

#include "base/threads.h"
#include "policies/row_norms_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

class Knorm final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    request.threads->for_each(scores.size(), [&](std::size_t h) {
      row_norms(*request.kernels, {layer.heads[h].keys, layer.heads[h].type},
                static_cast<std::size_t>(layer.head_dim), scores[h]);
      for (float& score : scores[h]) score = -score;
    });
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<Knorm>(); }

}  // namespace

extern const PolicyInfo knorm_policy;
constinit const PolicyInfo knorm_policy{
    .name = "knorm",
    .summary = "small norm of the key; a floor for comparison",
    .paper = "L2 norm of keys, arXiv 2406.11430",
    .needs = Needs::kNothing,
    .make = make,
};

}  // namespace restkv
