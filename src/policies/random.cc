// A fair lottery: the floor that every method has to beat.

#include "base/random.h"

#include "restkv/policy.h"

namespace restkv {
namespace {

class Random final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      for (std::size_t i = 0; i < scores[h].size(); ++i) {
        const std::uint64_t drawn =
            random_at(request.seed, static_cast<std::uint64_t>(layer.layer), h,
                      static_cast<std::uint64_t>(layer.heads[h].positions[i]));
        scores[h][i] = static_cast<float>(drawn >> 40) * 0x1p-24F;  // 24 bits are a float's
      }
    }
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<Random>(); }

}  // namespace

extern const PolicyInfo random_policy;
constinit const PolicyInfo random_policy{
    .name = "random",
    .summary = "drawn by lot from the seed; a floor for comparison",
    .paper = "none",
    .needs = Needs::kNothing,
    .reads_rows = false,
    .make = make,
};

}  // namespace restkv
