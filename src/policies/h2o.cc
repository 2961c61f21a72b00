// H2O (arXiv 2306.14048), one-shot form: the attention that a token has received from all queries
// since it came. The sums stay with the rows, so a later turn adds to them.

#include <algorithm>

#include "restkv/policy.h"

namespace restkv {
namespace {

class H2o final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& /*request*/,
             std::span<const std::span<float>> scores) const override {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::ranges::copy(layer.column_sums[h], scores[h].begin());
    }
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<H2o>(); }

}  // namespace

extern const PolicyInfo h2o_policy;
constinit const PolicyInfo h2o_policy{
    .name = "h2o",
    .summary = "attention received from all tokens so far",
    .paper = "H2O, arXiv 2306.14048",
    .needs = Needs::kColumnSums,
    .paper_protection = {.sinks = 0, .window = true},
    .reads_rows = false,
    .make = make,
};

}  // namespace restkv
