// SnapKV (arXiv 2404.14469): the attention that the newest queries pay to a token, summed over the
// queries, averaged over the query heads of a KV head and spread to the neighbours by pooling.
//
// The publication selects per query head. Here rows are stored per KV head, so the mean over the
// group comes first and the pooling after it; for maximum pooling the order matters.

#include <algorithm>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "policies/smoothing_common.h"
#include "policies/window_attention_common.h"
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
    const WindowAttention window(layer, request, request.window);
    const Threads& threads = *request.threads;
    const auto n_head = static_cast<std::size_t>(layer.n_head);
    const auto group = static_cast<std::size_t>(layer.group());

    // Everything is allocated here: a worker must not throw.
    AlignedArray<float> sum_buffer(n_head * window.max_rows());
    const View2<float> sums(sum_buffer.data(), n_head, window.max_rows());
    const std::size_t workers = static_cast<std::size_t>(threads.count());
    std::vector<AlignedArray<float>> buffers(workers);
    for (auto& buffer : buffers) buffer.reserve(window.buffer_size());
    threads.for_each_worker(n_head, [&](std::size_t head, std::size_t worker) {
      const View2<const float> attention = window.probabilities(head, buffers[worker].span());
      const std::span<float> sum = sums.row(head).first(window.past(window.kv_head(head)));
      std::ranges::fill(sum, 0.0F);
      for (std::size_t i = 0; i < attention.rows; ++i) {
        const std::span<const float> row = attention.row(i);
        for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += row[j];
      }
    });

    AlignedArray<float> means(window.max_rows());
    AlignedArray<double> scratch(smoothing_scratch(window.max_rows(), filter_.width));
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::ranges::fill(scores[h], 0.0F);
      const std::size_t past = window.past(h);
      if (past == 0) continue;
      mean_over_group(sums, h, group, means.span().first(past));
      smooth(means.span().first(past), filter_, scratch.span(), scores[h].first(past));
      if (request.trace != nullptr) {
        request.trace->array("smooth", static_cast<int>(h), scores[h].first(past));
      }
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
     .max = 1025,
     .choices = {}},
};

}  // namespace

extern const PolicyInfo snapkv_policy;
constinit const PolicyInfo snapkv_policy{
    .name = "snapkv",
    .summary = "attention from the newest tokens, pooled over neighbours",
    .paper = "SnapKV, arXiv 2404.14469",
    .needs = Needs::kWindowQueries,
    .paper_protection = {.sinks = 0, .window = true},
    .keeps_all = false,
    .scores_depend_on_budget = false,
    .even_window = false,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
