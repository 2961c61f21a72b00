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

// What the newest query pays to the rows of a KV head: one of these for each query head, or the
// mean over a group for each KV head. The mean of all of them is the same.
struct Paid {
  std::size_t kv_head = 0;
  std::span<const float> attention;
};

// `buffer` holds what is computed here.
std::vector<Paid> newest_attention(const LayerObservation& layer, const ScoreRequest& request,
                                   AlignedArray<float>& buffer) {
  std::vector<Paid> paid;
  for (std::size_t h = 0; h < layer.newest_attention.size(); ++h) {
    paid.push_back({.kv_head = h, .attention = layer.newest_attention[h]});
  }
  if (!paid.empty()) return paid;
  const WindowAttention newest(layer, request, /*max_queries=*/1);
  const auto n_head = static_cast<std::size_t>(layer.n_head);
  buffer.reserve(n_head * newest.max_rows());
  const View2<float> rows(buffer.data(), n_head, newest.max_rows());
  request.threads->for_each(n_head,
                            [&](std::size_t head) { newest.probabilities(head, rows.row(head)); });
  for (std::size_t head = 0; head < n_head; ++head) {
    const std::size_t h = newest.kv_head(head);
    paid.push_back({.kv_head = h, .attention = rows.row(head).first(newest.rows(h))});
  }
  return paid;
}

bool same_positions(const LayerObservation& layer) {
  return std::ranges::all_of(layer.heads, [&](const HeadRows& head) {
    return std::ranges::equal(head.positions, layer.heads.front().positions);
  });
}

class Tova final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    AlignedArray<float> buffer;
    const std::vector<Paid> paid = newest_attention(layer, request, buffer);
    // KV heads of a continued sequence may hold different positions: the mean is over those query
    // heads that have the position. Where all hold the same, a row's index will do for a position.
    const bool same = same_positions(layer);
    const auto place = [&](std::size_t h, std::size_t row) {
      return same ? row : static_cast<std::size_t>(layer.heads[h].positions[row]);
    };
    const std::size_t places =
        same ? scores.front().size() : static_cast<std::size_t>(layer.window_positions.back()) + 1;
    std::vector<float> sums(places, 0.0F);
    std::vector<float> heads(places, 0.0F);
    for (const Paid& one : paid) {
      for (std::size_t j = 0; j < one.attention.size(); ++j) {
        const std::size_t at = place(one.kv_head, j);
        sums[at] += one.attention[j];
        heads[at] += 1.0F;
      }
    }
    for (std::size_t h = 0; h < scores.size(); ++h) {
      for (std::size_t j = 0; j < scores[h].size(); ++j) {
        const std::size_t at = place(h, j);
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
    .newest_query_only = true,
    .make = make,
};

}  // namespace restkv
