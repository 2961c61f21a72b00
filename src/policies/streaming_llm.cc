// StreamingLLM (arXiv 2309.17453), one-shot form: the first tokens, which the engine protects, and
// the newest ones. Positions stay as they were, or, as in the publication, are those in the cache.

#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr int kSinks = 4;

class StreamingLlm final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& /*request*/,
             std::span<const std::span<float>> scores) const override {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      for (std::size_t i = 0; i < scores[h].size(); ++i) {
        scores[h][i] = static_cast<float>(layer.heads[h].positions[i]);
      }
    }
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) {
  return std::make_unique<StreamingLlm>();
}

constexpr ParamInfo kParams[] = {
    {.name = "positions",
     .summary = "where attention sees the rows: where they were, or side by side (the publication)",
     .kind = ParamKind::kChoice,
     .default_value = "original",
     .choices = "original|renumbered"},
};

}  // namespace

extern const PolicyInfo streaming_llm_policy;
constinit const PolicyInfo streaming_llm_policy{
    .name = "streaming-llm",
    .summary = "the first tokens and the newest",
    .paper = "StreamingLLM, arXiv 2309.17453",
    .needs = Needs::kNothing,
    .paper_protection = {.sinks = kSinks, .window = false},
    .reads_rows = false,
    .params = kParams,
    .make = make,
    .renumbers =
        [](const ParamValues& values) { return values.choice("positions") == "renumbered"; },
};

}  // namespace restkv
