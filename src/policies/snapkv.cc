// SnapKV (arXiv 2404.14469): the attention that the newest queries pay to a token, summed over the
// queries, averaged over the query heads of a KV head and spread to the neighbours by pooling.
//
// The publication selects per query head. Where rows are kept per KV head, the mean over the group
// comes first and the pooling after it; for maximum pooling the order matters.

#include <vector>

#include "policies/pooled_attention_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

class SnapKv final : public Scorer {
 public:
  explicit SnapKv(const ParamValues& values)
      : filter_{.kind = values.choice("pooling") == "max" ? SmoothingFilter::Kind::kMax
                                                          : SmoothingFilter::Kind::kMeanZeroEdges,
                .width = static_cast<std::size_t>(values.integer("kernel")),
                .shift = 0} {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    const std::vector<std::size_t> past = pooled_window_attention(layer, request, filter_, scores);
    if (request.trace == nullptr) return;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      if (past[h] == 0) continue;
      request.trace->array("smooth", static_cast<int>(h), scores[h].first(past[h]));
    }
  }

 private:
  SmoothingFilter filter_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) { return std::make_unique<SnapKv>(values); }

constexpr ParamInfo kParams[] = {
    {.name = "pooling",
     .summary = "how a score spreads to the neighbours",
     .kind = ParamKind::kChoice,
     .default_value = "avg",
     .choices = "avg|max"},
    {.name = "kernel",
     .summary = "width of the pooling, in tokens",
     .kind = ParamKind::kInteger,
     .default_value = "5",
     .min = 1,
     .max = 1025},
};

}  // namespace

extern const PolicyInfo snapkv_policy;
constinit const PolicyInfo snapkv_policy{
    .name = "snapkv",
    .summary = "attention from the newest tokens, pooled over neighbours",
    .paper = "SnapKV, arXiv 2404.14469",
    .needs = Needs::kWindowQueries,
    .paper_protection = {.sinks = 0, .window = true},
    .scores_by_group = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
