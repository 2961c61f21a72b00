// ChunkKV (arXiv 2502.00299): whole chunks of neighbouring tokens stay or go together, by the mean
// of what another policy says about their tokens, the same for all KV heads.
//
// The budget is met to the token, so of the last chunk that finds room only the first tokens stay.

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

const PolicyInfo* inner(const ParamValues& values) { return find_policy(values.choice("score")); }

class ChunkKv final : public Scorer {
 public:
  explicit ChunkKv(const ParamValues& values)
      : length_(static_cast<std::size_t>(values.integer("chunk"))), policy_(inner(values)) {
    RESTKV_CHECK(policy_ != nullptr);
    const auto defaults = ParamValues::parse(policy_->name, policy_->params, {});
    RESTKV_CHECK(defaults.ok());
    scorer_ = policy_->make(*defaults);
  }

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    scorer_->score(layer, request, scores);
    const auto end = static_cast<std::size_t>(last_position(layer)) + 1;
    // Where the other policy leaves the window to its protection, its scores there mean nothing.
    const std::size_t scored =
        policy_->paper_protection.window ? end - std::min(request.window, end) : end;
    const std::vector<double> means = chunk_means(layer, scores, scored, end);
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const std::span<const Position> positions = layer.heads[h].positions;
      for (std::size_t j = 0; j < positions.size(); ++j) {
        scores[h][j] = static_cast<float>(means[static_cast<std::size_t>(positions[j]) / length_]);
      }
    }
  }

  void replay(const LayerObservation& layer, const ScoreRequest& request,
              std::span<const std::span<float>> worth) const override {
    scorer_->replay(layer, request, worth);
  }
  [[nodiscard]] std::size_t replay_piece() const override { return scorer_->replay_piece(); }
  // The other policy goes on as it would alone; what it would leave empty is filled.
  [[nodiscard]] PolicyCut cut(const LayerObservation& layer, const ScoreRequest& request,
                              std::size_t h) const override {
    return {.cursor = scorer_->cut(layer, request, h).cursor};
  }

 private:
  static Position last_position(const LayerObservation& layer) {
    Position last = 0;
    for (const HeadRows& head : layer.heads) {
      if (!head.positions.empty()) last = std::max(last, head.positions.back());
    }
    return last;
  }

  // Mean score of the tokens of each chunk below position `scored`; a token's score is the mean
  // over the KV heads that hold it. Chunks without any are worth nothing.
  [[nodiscard]] std::vector<double> chunk_means(const LayerObservation& layer,
                                                std::span<const std::span<float>> scores,
                                                std::size_t scored, std::size_t end) const {
    std::vector<double> sums(end, 0.0);
    std::vector<std::uint32_t> heads(end, 0);
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const std::span<const Position> positions = layer.heads[h].positions;
      for (std::size_t j = 0; j < positions.size(); ++j) {
        const auto at = static_cast<std::size_t>(positions[j]);
        if (at >= scored) break;
        sums[at] += static_cast<double>(scores[h][j]);
        ++heads[at];
      }
    }
    std::vector<double> means((end + length_ - 1) / length_, 0.0);
    std::vector<std::size_t> tokens(means.size(), 0);
    for (std::size_t at = 0; at < scored; ++at) {
      if (heads[at] == 0) continue;
      means[at / length_] += sums[at] / heads[at];
      ++tokens[at / length_];
    }
    for (std::size_t chunk = 0; chunk < means.size(); ++chunk) {
      if (tokens[chunk] > 0) means[chunk] /= static_cast<double>(tokens[chunk]);
    }
    return means;
  }

  std::size_t length_;
  const PolicyInfo* policy_;
  std::unique_ptr<Scorer> scorer_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<ChunkKv>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "score",
     .summary = "the policy, with its defaults, that says what a token is worth",
     .kind = ParamKind::kChoice,
     .default_value = "snapkv",
     .choices = "criticalkv|expected-attention|h2o|keydiff|knorm|kvzip|lacache|lagkv|"
                "observed-attention|random|rest-kv|snapkv|streaming-llm|tova"},
    {.name = "chunk",
     .summary = "length of a chunk, in tokens",
     .kind = ParamKind::kInteger,
     .default_value = "20",
     .min = 1,
     .max = 65536},
};

// A model that does not suit the other policy does not suit this one.
Result<void> check(const ParamValues& values, int n_layer) {
  const PolicyInfo* policy = inner(values);
  if (policy->check == nullptr) return {};
  const auto defaults = ParamValues::parse(policy->name, policy->params, {});
  if (!defaults.ok()) return defaults.error();
  return policy->check(*defaults, n_layer);
}

}  // namespace

extern const PolicyInfo chunkkv_policy;
constinit const PolicyInfo chunkkv_policy{
    .name = "chunkkv",
    .summary =
        "whole chunks of tokens, by the mean of another policy's scores; the last one is cut where "
        "the budget ends",
    .paper = "ChunkKV, arXiv 2502.00299",
    .needs = Needs::kNothing,
    .paper_protection = {.sinks = 0, .window = true},
    .reads_rows = false,  // beyond what the other policy reads
    .params = kParams,
    .make = make,
    .check = check,
    .inner = inner,
};

}  // namespace restkv
