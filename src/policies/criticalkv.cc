// CriticalKV (arXiv 2502.03805): a base score finds the certain half of the budget; the rest goes
// to the tokens whose attention, times the size of what their value adds to the hidden state, is
// largest.
//
// The base is SnapKV's: mean attention of the window's queries, pooled by 5, mean over the group.
// The second stage is (base + epsilon) * mean over the group of |W_o^h v_j|_1. The window's own
// tokens have the largest base score, but are not protected in the second stage.
//
// Ours: the certain half is half of the nominal budget, whatever an allocator then gives to a head,
// because scores are made before rows are divided; and certain tokens lie above all others in every
// comparison across heads and layers. Under pyramid, ada and global the halves therefore differ
// from those of the publication, which divides first.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "base/top_k.h"
#include "kernels/kernels.h"
#include "policies/pooled_attention_common.h"
#include "policies/window_attention_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kBlock = 64;  // rows of one work item

class CriticalKv final : public Scorer {
 public:
  explicit CriticalKv(const ParamValues& values)
      : filter_{.kind = SmoothingFilter::Kind::kMeanZeroEdges,
                .width = static_cast<std::size_t>(values.integer("kernel")),
                .shift = 0},
        first_stage_(values.number("first-stage")),
        epsilon_(static_cast<float>(values.number("epsilon"))) {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    base_scores(layer, request, scores);
    const std::vector<std::vector<float>> sizes = output_sizes(layer, request);
    const auto certain =
        static_cast<std::size_t>(std::floor(first_stage_ * static_cast<double>(request.budget)));
    std::vector<std::vector<std::uint32_t>> first(scores.size());
    for (std::size_t h = 0; h < scores.size(); ++h) {
      top_k(scores[h], certain, first[h]);
      if (request.trace != nullptr) {
        request.trace->array("base", static_cast<int>(h), scores[h]);
        request.trace->array("wov_l1", static_cast<int>(h), sizes[h]);
      }
    }
    const std::vector<Certain> ranking = ranked(first, scores);
    float largest = 0;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      for (std::size_t j = 0; j < scores[h].size(); ++j) {
        scores[h][j] = (scores[h][j] + epsilon_) * sizes[h][j];
        largest = std::max(largest, scores[h][j]);
      }
    }
    // Certain tokens lie above every other, the first of them at three times the largest score. By
    // their ranks: added to what lies so far above them, base scores would be rounded away.
    const float step = 1.0F / static_cast<float>(std::max<std::size_t>(ranking.size(), 1));
    const float unit = std::max(largest, std::numeric_limits<float>::min());
    for (std::size_t i = 0; i < ranking.size(); ++i) {
      scores[ranking[i].head][ranking[i].row] = unit * (3 - static_cast<float>(i) * step);
    }
  }

 private:
  struct Certain {
    std::size_t head;
    std::uint32_t row;
  };

  // Those of all heads by their base score, the largest first; of equal ones the older first.
  static std::vector<Certain> ranked(const std::vector<std::vector<std::uint32_t>>& first,
                                     std::span<const std::span<float>> base) {
    std::vector<Certain> ranking;
    for (std::size_t h = 0; h < first.size(); ++h) {
      for (const std::uint32_t row : first[h]) ranking.push_back({.head = h, .row = row});
    }
    std::ranges::stable_sort(ranking, std::greater(),
                             [&](const Certain& token) { return base[token.head][token.row]; });
    return ranking;
  }

  void base_scores(const LayerObservation& layer, const ScoreRequest& request,
                   std::span<const std::span<float>> scores) const {
    const std::vector<std::size_t> past = pooled_window_attention(layer, request, filter_, scores);
    const std::size_t queries = std::min(request.window, layer.window_positions.size());
    const float share = 1.0F / static_cast<float>(queries);
    float largest = 0;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      for (float& score : scores[h].first(past[h])) largest = std::max(largest, score *= share);
    }
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::ranges::fill(scores[h].subspan(past[h]), largest + 1);
    }
  }

  // [n_kv_head][rows]: mean over the group of |W_o^h v|_1.
  static std::vector<std::vector<float>> output_sizes(const LayerObservation& layer,
                                                      const ScoreRequest& request) {
    const KernelTable& kernels = *request.kernels;
    const View3<const float>& columns = layer.output_columns;
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    const auto n_head = static_cast<std::size_t>(layer.n_head);
    const auto group = static_cast<std::size_t>(layer.group());
    std::size_t rows = 0;
    for (const HeadRows& head : layer.heads) rows = std::max(rows, head.positions.size());
    const std::size_t blocks = (rows + kBlock - 1) / kBlock;

    AlignedArray<float> buffer(n_head * rows);
    const View2<float> by_head(buffer.data(), n_head, rows);
    request.threads->for_each(n_head * blocks, [&](std::size_t item) {
      const std::size_t head = item / blocks;
      const HeadRows& from = layer.heads[head / group];
      const std::size_t first = item % blocks * kBlock;
      const std::size_t last = std::min(first + kBlock, from.positions.size());
      if (first >= last) return;  // another KV head holds more rows
      kernels.projected_sizes(
          {.columns = columns.plane(head).data, .head_dim = dim, .n_out = columns.cols},
          {from.values + first * kv_row_bytes(from.type, dim), from.type}, last - first,
          by_head.row(head).data() + first);
    });

    std::vector<std::vector<float>> sizes;
    for (std::size_t h = 0; h < layer.heads.size(); ++h) {
      sizes.emplace_back(layer.heads[h].positions.size());
      over_group(request.group_score, by_head, h, group, sizes.back());
    }
    return sizes;
  }

  SmoothingFilter filter_;
  double first_stage_;
  float epsilon_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<CriticalKv>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "first-stage",
     .summary = "share of the budget that goes by attention alone",
     .kind = ParamKind::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1},
    {.name = "epsilon",
     .summary = "added to the attention before it is multiplied by the size of the output",
     .kind = ParamKind::kNumber,
     .default_value = "0.0001",
     .min = 0,
     .max = 1},
    {.name = "kernel",
     .summary = "width of the average pooling, in tokens",
     .kind = ParamKind::kInteger,
     .default_value = "5",
     .min = 1,
     .max = 1025},
};

}  // namespace

extern const PolicyInfo criticalkv_policy;
constinit const PolicyInfo criticalkv_policy{
    .name = "criticalkv",
    .summary = "half by attention, half by attention times the size of what the value adds",
    .paper = "CriticalKV, arXiv 2502.03805",
    .needs = Needs::kWindowQueries | Needs::kOutputColumns,
    .scores_depend_on_budget = true,
    .scores_by_group = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
