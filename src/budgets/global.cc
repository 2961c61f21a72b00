// One pool for the whole sequence: the rows of all heads of all layers compete, above a floor for
// every head. The total is exact: budget x layers x KV heads, where a layer with a sliding window
// counts with the rows that it can hold at the most.
//
// Asked layer by layer it comes to the choice that knows all layers from the start: a row that is
// not among the best of some layers is not among the best of more. So nothing has to be kept but
// the running best.

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "budgets/one_cut_common.h"
#include "restkv/allocator.h"

namespace restkv {
namespace {

class Global final : public Allocator {
 public:
  explicit Global(const ParamValues& values)
      : norm_(values.choice("global-norm") == "none"     ? Norm::kNone
              : values.choice("global-norm") == "output" ? Norm::kOutput
                                                         : Norm::kLayer),
        floor_(values.number("floor")) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    const auto share =
        static_cast<std::size_t>(std::floor(floor_ * static_cast<double>(request.budget)));
    std::vector<std::size_t> floors;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      floors.push_back(std::min(std::max(share, request.protected_rows[h]), request.rows[h]));
    }
    one_cut(request.scores, floors, request.pool, counts);
  }

  [[nodiscard]] double score_unit(const ScoreScale& scale) const override {
    switch (norm_) {
      case Norm::kNone: return 1.0;
      case Norm::kLayer: return scale.mass;
      case Norm::kOutput: return scale.output_norm;
    }
    return 1.0;
  }

 private:
  enum class Norm : std::uint8_t { kNone, kLayer, kOutput };
  Norm norm_;
  double floor_;
};

std::unique_ptr<Allocator> make(const ParamValues& values) {
  return std::make_unique<Global>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "global-norm",
     .summary = "what makes the scores of layers comparable: nothing; division by the sum of the "
                "layer's absolute scores; by the length of the newest token's hidden state after "
                "the layer",
     .kind = ParamKind::kChoice,
     .default_value = "layer",
     .min = 0,
     .max = 0,
     .choices = "none|layer|output"},
    {.name = "floor",
     .summary = "share of the budget that every head gets in any case, at least its protected rows",
     .kind = ParamKind::kNumber,
     .default_value = "0",
     .min = 0,
     .max = 1},
};

}  // namespace

extern const AllocatorInfo global_allocator;
constinit const AllocatorInfo global_allocator{
    .name = "global",
    .summary = "heads of all layers compete for one pool, above a floor for each",
    .paper = "as in KVzip, arXiv 2505.23416, over any score",
    .needs_scores = true,
    .across_layers = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
