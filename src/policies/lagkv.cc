// LagKV (arXiv 2504.04704): how a token's key and value spread over their channels, measured by the
// range of each channel in the part of the prompt that follows. Reads no queries.
//
// After the first `sinks` tokens the rows are cut into parts of `lag`. Each part but the last full
// one is scored against the next part: every channel is scaled by the minimum and maximum of the
// next part, the standard deviation over the channels is taken, and a softmax runs over the part.
// The mean of what keys and values say is ranked inside the part, so that each part gives the same
// number of tokens. The first tokens, the last full part and what follows it come before all
// others.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

// Memory of one worker.
struct Scratch {
  std::vector<float> rows;       // [lag, dim] of the part
  std::vector<float> low, high;  // [dim] of the part that follows
  std::vector<float> next;       // [dim]
  std::vector<double> spread;    // [lag]
  std::vector<std::size_t> order;
};

class LagKv final : public Scorer {
 public:
  explicit LagKv(const ParamValues& values)
      : lag_(static_cast<std::size_t>(values.integer("lag"))),
        sinks_(values.integer("sinks")),
        cross_(values.on("cross")) {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    std::vector<Scratch> scratch(scores.size());
    for (Scratch& one : scratch) {
      one.rows.resize(lag_ * dim);
      for (auto* channel : {&one.low, &one.high, &one.next}) channel->resize(dim);
      one.spread.resize(lag_);
      one.order.resize(lag_);
    }
    request.threads->for_each(scores.size(), [&](std::size_t h) {
      score_head(*request.kernels, layer.heads[h], dim, scratch[h], scores[h]);
    });
    if (request.trace == nullptr) return;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::vector<float> softmax(scores[h].size());
      soft_scores(*request.kernels, layer.heads[h], dim, scratch[h], softmax);
      request.trace->array("softmax", static_cast<int>(h), softmax);
    }
  }

 private:
  struct Parts {
    std::size_t first = 0;  // row at which the first part begins
    std::size_t count = 0;  // of parts that are scored
  };
  [[nodiscard]] Parts parts_of(const HeadRows& head) const {
    const std::size_t rows = head.positions.size();
    const auto first = static_cast<std::size_t>(std::ranges::lower_bound(head.positions, sinks_) -
                                                head.positions.begin());
    const std::size_t full = (rows - first) / lag_;
    return {.first = first, .count = full > 0 ? full - 1 : 0};
  }

  void score_head(const KernelTable& kernels, const HeadRows& head, std::size_t dim,
                  Scratch& scratch, std::span<float> scores) const {
    const Parts parts = parts_of(head);
    if (parts.count == 0) {
      // Too short to be scored: the newest tokens, after the first ones.
      std::ranges::fill(scores, 1.0F);
      const std::span<float> rest = scores.subspan(parts.first);
      for (std::size_t j = 0; j < rest.size(); ++j) {
        rest[j] = static_cast<float>(j) / static_cast<float>(rest.size());
      }
      return;
    }
    soft_scores(kernels, head, dim, scratch, scores);
    if (cross_) return;
    for (std::size_t part = 0; part < parts.count; ++part) {
      rank(scores.subspan(parts.first + part * lag_, lag_), scratch.order);
    }
  }

  // The mean of both softmaxes; 1 for the rows that are not scored.
  void soft_scores(const KernelTable& kernels, const HeadRows& head, std::size_t dim,
                   Scratch& scratch, std::span<float> scores) const {
    const Parts parts = parts_of(head);
    std::ranges::fill(scores, 1.0F);
    for (std::size_t part = 0; part < parts.count; ++part) {
      const std::size_t first = parts.first + part * lag_;
      const std::span<float> out = scores.subspan(first, lag_);
      std::ranges::fill(out, 0.0F);
      for (const std::byte* data : {head.keys, head.values}) {
        spread_of_part(kernels, {data, head.type}, first, dim, scratch);
        const double most = *std::ranges::max_element(scratch.spread);
        double sum = 0;
        for (double& value : scratch.spread) sum += value = std::exp(value - most);
        for (std::size_t j = 0; j < lag_; ++j) {
          out[j] += static_cast<float>(scratch.spread[j] / sum / 2);
        }
      }
    }
  }

  // Standard deviation over the channels of each row of the part that begins at row `first`.
  void spread_of_part(const KernelTable& kernels, TypedRows rows, std::size_t first,
                      std::size_t dim, Scratch& scratch) const {
    const std::size_t row_bytes = kv_row_bytes(rows.type, dim);
    const auto read = [&](std::size_t row, float* out) {
      kernels.decode_row(rows.type, rows.data + row * row_bytes, out, dim);
    };
    std::ranges::fill(scratch.low, std::numeric_limits<float>::infinity());
    std::ranges::fill(scratch.high, -std::numeric_limits<float>::infinity());
    for (std::size_t j = 0; j < lag_; ++j) {
      read(first + lag_ + j, scratch.next.data());
      for (std::size_t d = 0; d < dim; ++d) {
        scratch.low[d] = std::min(scratch.low[d], scratch.next[d]);
        scratch.high[d] = std::max(scratch.high[d], scratch.next[d]);
      }
    }
    for (std::size_t j = 0; j < lag_; ++j) {
      float* row = scratch.rows.data() + j * dim;
      read(first + j, row);
      double sum = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        // A channel that stands still in the next part says nothing.
        const float range = scratch.high[d] - scratch.low[d];
        row[d] = range > 0 ? (row[d] - scratch.low[d]) / range : 0.0F;
        sum += static_cast<double>(row[d]);
      }
      const double mean = sum / static_cast<double>(dim);
      double squares = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        const double off = static_cast<double>(row[d]) - mean;
        squares += off * off;
      }
      scratch.spread[j] = std::sqrt(squares / static_cast<double>(dim - 1));
    }
  }

  // Replaces each score by its rank / lag, in [0, 1). Equal scores: the lower row ranks higher.
  void rank(std::span<float> part, std::span<std::size_t> order) const {
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
      return part[a] != part[b] ? part[a] < part[b] : a > b;
    });
    for (std::size_t place = 0; place < lag_; ++place) {
      part[order[place]] = static_cast<float>(place) / static_cast<float>(lag_);
    }
  }

  std::size_t lag_;
  int sinks_;
  bool cross_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) { return std::make_unique<LagKv>(values); }

constexpr ParamInfo kParams[] = {
    {.name = "lag",
     .summary = "length of a part, in tokens; prompts below two parts keep the newest",
     .kind = ParamKind::kInteger,
     .default_value = "128",
     .min = 2,
     .max = 65536},
    {.name = "sinks",
     .summary = "first tokens that belong to no part, and are kept",
     .kind = ParamKind::kInteger,
     .default_value = "4",
     .min = 0,
     .max = 65536},
    {.name = "cross",
     .summary = "let parts compete with one another; off: each gives the same number",
     .kind = ParamKind::kSwitch,
     .default_value = "off"},
};

}  // namespace

extern const PolicyInfo lagkv_policy;
constinit const PolicyInfo lagkv_policy{
    .name = "lagkv",
    .summary = "spread of key and value, by the ranges of the next part of the prompt",
    .paper = "LagKV, arXiv 2504.04704",
    .needs = Needs::kNothing,
    .paper_protection = {.sinks = 4, .window = false},
    .params = kParams,
    .make = make,
};

}  // namespace restkv
