// Keeps everything: what every other policy is measured against.

#include <algorithm>

#include "restkv/policy.h"

namespace restkv {
namespace {

class Full final : public Scorer {
 public:
  void score(const LayerObservation& /*layer*/, const ScoreRequest& /*request*/,
             std::span<const std::span<float>> scores) const override {
    for (const std::span<float> head : scores) std::ranges::fill(head, 0.0F);
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<Full>(); }

}  // namespace

extern const PolicyInfo full_policy;
constinit const PolicyInfo full_policy{
    .name = "full",
    .summary = "keeps every token; takes no budget",
    .paper = "the model as it is",
    .needs = Needs::kNothing,
    .keeps_all = true,
    .make = make,
};

}  // namespace restkv
