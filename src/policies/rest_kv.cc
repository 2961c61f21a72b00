// ReST-KV (arXiv 2605.08840): how far would the layer's output move if the token were gone?
//
// A head's output is o = sum of p_j v_j. Without token j, and renormalised, it moves by
// p_j / (1 - p_j) * (o - v_j); the score is the length of that move after the output projection.
// Attention is smoothed over the window's queries (a moving average that favours the newest), and
// scores over neighbouring tokens by a mean filter, which is shifted and widened by how far the
// attention drifts inside the window.
//
// The publication selects per query head. Here rows are stored per KV head: scores are smoothed per
// query head and then averaged over the group.

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "policies/drift_common.h"
#include "policies/smoothing_common.h"
#include "policies/window_attention_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

// Least share that is left when one token takes all attention: the distance of 1 to the next
// smaller float. Keeps the odds finite.
constexpr float kLeastRest = 0x1p-24F;
constexpr float kLargest = std::numeric_limits<float>::max();

enum class Metric : std::uint8_t { kAfter, kBefore };
enum class Projection : std::uint8_t { kOn, kOff };
enum class RowWeights : std::uint8_t { kMovingAverage, kMean };
enum class Smoothing : std::uint8_t { kAdaptive, kAverage, kMax, kNone };

struct Setting {
  float alpha = 0.3F;
  float tau = 1.0F;
  Metric metric = Metric::kAfter;
  Projection projection = Projection::kOn;
  RowWeights row_weights = RowWeights::kMovingAverage;
  Smoothing smoothing = Smoothing::kAdaptive;
  std::size_t kernel = 5;
  double scale = 2000;
};

Smoothing smoothing_by_name(std::string_view name) {
  if (name == "avg") return Smoothing::kAverage;
  if (name == "max") return Smoothing::kMax;
  return name == "none" ? Smoothing::kNone : Smoothing::kAdaptive;
}

Setting setting_of(const ParamValues& values) {
  return {.alpha = static_cast<float>(values.number("alpha")),
          .tau = static_cast<float>(values.number("tau")),
          .metric = values.choice("metric") == "before" ? Metric::kBefore : Metric::kAfter,
          .projection = values.on("wo") ? Projection::kOn : Projection::kOff,
          .row_weights = values.on("ema") ? RowWeights::kMovingAverage : RowWeights::kMean,
          .smoothing = smoothing_by_name(values.choice("smoothing")),
          .kernel = static_cast<std::size_t>(values.integer("kernel")),
          .scale = values.number("scale")};
}

// Puts rows one after the other into one: a moving average or the plain mean.
class RowBlend {
 public:
  RowBlend(const Setting& setting, std::size_t n_row) {
    if (setting.row_weights == RowWeights::kMovingAverage) {
      newer_ = setting.alpha;
      older_ = 1.0F - setting.alpha;
    } else {
      first_ = newer_ = 1.0F / static_cast<float>(n_row);
      older_ = 1.0F;
    }
  }
  void add(std::size_t i, std::span<const float> row, std::span<float> blend) const {
    if (i == 0) {
      for (std::size_t j = 0; j < blend.size(); ++j) blend[j] = first_ * row[j];
    } else {
      for (std::size_t j = 0; j < blend.size(); ++j) {
        blend[j] = newer_ * row[j] + older_ * blend[j];
      }
    }
  }

 private:
  float first_ = 1.0F;
  float newer_ = 1.0F;
  float older_ = 0.0F;
};

// Memory of one worker, for any head of the layer.
struct Scratch {
  AlignedArray<float> probabilities;  // [window, rows]
  AlignedArray<float> ema;            // [past]
  AlignedArray<float> norm;           // [past]
  AlignedArray<float> raw;            // [past]
  AlignedArray<double> filter;
  DriftScratch drift;
};

class RestKv final : public Scorer {
 public:
  explicit RestKv(const Setting& setting) : setting_(setting) {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override;

 private:
  class Trace;
  struct Head {
    std::size_t index = 0;  // query head
    const HeadRows* rows = nullptr;
    const float* factor = nullptr;  // R of the output projection, or null
    std::size_t head_dim = 0;
    std::span<float> smooth;  // [past]: the result
  };
  [[nodiscard]] std::size_t widest_filter(std::size_t rows) const;
  void score_head(const Head& head, View2<const float> attention, const ScoreRequest& request,
                  Trace& trace, Scratch& scratch) const;
  void score_blended_row(const Head& head, View2<const float> attention, const KernelTable& kernels,
                         Trace& trace, Scratch& scratch) const;
  void blend_scored_rows(const Head& head, View2<const float> attention, const KernelTable& kernels,
                         Scratch& scratch) const;
  void multiply(std::span<const float> share, std::span<const float> distance,
                std::span<float> moves) const;
  [[nodiscard]] SmoothingFilter filter_for(const Head& head, View2<const float> attention,
                                           const ScoreRequest& request, Trace& trace,
                                           Scratch& scratch) const;

  Setting setting_;
};

// Passes arrays on, one thread at a time.
class RestKv::Trace {
 public:
  explicit Trace(ScoreTrace* sink) : sink_(sink) {}
  void array(std::string_view name, std::size_t head, std::span<const float> values) {
    if (sink_ == nullptr) return;
    const std::scoped_lock lock(mutex_);
    sink_->array(name, static_cast<int>(head), values);
  }
  void number(std::string_view name, std::size_t head, double value) {
    const auto number = static_cast<float>(value);
    array(name, head, {&number, 1});
  }

 private:
  ScoreTrace* sink_;
  std::mutex mutex_;
};

void RestKv::score(const LayerObservation& layer, const ScoreRequest& request,
                   std::span<const std::span<float>> scores) const {
  const WindowAttention window(layer, request, request.window);
  const Threads& threads = *request.threads;
  const auto n_head = static_cast<std::size_t>(layer.n_head);
  const auto group = static_cast<std::size_t>(layer.group());
  const std::size_t rows = window.max_rows();

  // Everything is allocated here: a worker must not throw.
  AlignedArray<float> smooth_buffer(n_head * rows);
  const View2<float> smooth(smooth_buffer.data(), n_head, rows);
  std::vector<Scratch> scratches(static_cast<std::size_t>(threads.count()));
  for (Scratch& scratch : scratches) {
    scratch.probabilities.reserve(window.buffer_size());
    for (auto* array : {&scratch.ema, &scratch.norm, &scratch.raw}) array->reserve(rows);
    scratch.filter.reserve(smoothing_scratch(rows, widest_filter(rows)));
    scratch.drift.reserve(rows);
  }

  Trace trace(request.trace);
  threads.for_each_worker(n_head, [&](std::size_t index, std::size_t worker) {
    const std::size_t kv_head = window.kv_head(index);
    const std::size_t past = window.past(kv_head);
    if (past == 0) return;
    Scratch& scratch = scratches[worker];
    const bool projected = setting_.projection == Projection::kOn;
    const Head head{.index = index,
                    .rows = &layer.heads[kv_head],
                    .factor = projected ? layer.output_factors.plane(index).data : nullptr,
                    .head_dim = static_cast<std::size_t>(layer.head_dim),
                    .smooth = smooth.row(index).first(past)};
    score_head(head, window.probabilities(index, scratch.probabilities.span()), request, trace,
               scratch);
  });
  threads.for_each(scores.size(), [&](std::size_t h) {
    std::ranges::fill(scores[h], 0.0F);
    over_group(request.group_score, smooth, h, group, scores[h].first(window.past(h)));
  });
}

std::size_t RestKv::widest_filter(std::size_t rows) const {
  // The drift is smaller than the number of rows.
  const auto steps = static_cast<std::size_t>(static_cast<double>(rows) / setting_.scale);
  return std::max(setting_.kernel, 2 * steps + 1);
}

void RestKv::score_head(const Head& head, View2<const float> attention, const ScoreRequest& request,
                        Trace& trace, Scratch& scratch) const {
  const std::size_t past = head.smooth.size();
  if (setting_.metric == Metric::kAfter) {
    score_blended_row(head, attention, *request.kernels, trace, scratch);
  } else {
    blend_scored_rows(head, attention, *request.kernels, scratch);
  }
  const std::span<const float> raw = scratch.raw.span().first(past);
  trace.array("raw", head.index, raw);
  smooth(raw, filter_for(head, attention, request, trace, scratch), scratch.filter.span(),
         head.smooth);
  trace.array("smooth", head.index, head.smooth);
}

// Metric "after": one average row of attention, one score from it.
void RestKv::score_blended_row(const Head& head, View2<const float> attention,
                               const KernelTable& kernels, Trace& trace, Scratch& scratch) const {
  const std::size_t past = head.smooth.size();
  const std::span<float> ema = scratch.ema.span().first(past);
  const std::span<float> norm = scratch.norm.span().first(past);
  const RowBlend blend(setting_, attention.rows);
  for (std::size_t i = 0; i < attention.rows; ++i) blend.add(i, attention.row(i), ema);

  const TypedRows values{head.rows->values, head.rows->type};
  float output[kMaxHeadDim];
  kernels.weighted_sum(ema.data(), values, past, head.head_dim, output);
  kernels.output_distances(head.factor, output, values, past, head.head_dim, norm.data());
  multiply(ema, norm, scratch.raw.span().first(past));
  trace.array("ema", head.index, ema);
  trace.array("norm", head.index, norm);
}

// Metric "before": a score from each row of attention, with that row's full output; then their
// average.
void RestKv::blend_scored_rows(const Head& head, View2<const float> attention,
                               const KernelTable& kernels, Scratch& scratch) const {
  const std::size_t past = head.smooth.size();
  const std::span<float> norm = scratch.norm.span().first(past);
  const std::span<float> moves = scratch.ema.span().first(past);
  const TypedRows values{head.rows->values, head.rows->type};
  const RowBlend blend(setting_, attention.rows);
  for (std::size_t i = 0; i < attention.rows; ++i) {
    const std::span<const float> row = attention.row(i);
    float output[kMaxHeadDim];
    kernels.weighted_sum(row.data(), values, row.size(), head.head_dim, output);
    kernels.output_distances(head.factor, output, values, past, head.head_dim, norm.data());
    multiply(row.first(past), norm, moves);
    blend.add(i, moves, scratch.raw.span().first(past));
  }
}

// moves = odds of the share times distance ^ tau; always finite.
void RestKv::multiply(std::span<const float> share, std::span<const float> distance,
                      std::span<float> moves) const {
  for (std::size_t j = 0; j < moves.size(); ++j) {
    const float odds = share[j] / std::max(1.0F - share[j], kLeastRest);
    const float length = setting_.tau == 1.0F ? distance[j] : std::pow(distance[j], setting_.tau);
    moves[j] = std::min(odds * std::min(length, kLargest), kLargest);
  }
}

SmoothingFilter RestKv::filter_for(const Head& head, View2<const float> attention,
                                   const ScoreRequest& request, Trace& trace,
                                   Scratch& scratch) const {
  using Kind = SmoothingFilter::Kind;
  switch (setting_.smoothing) {
    case Smoothing::kNone: return {.kind = Kind::kMeanRepeatingEdges, .width = 1, .shift = 0};
    case Smoothing::kAverage:
      return {.kind = Kind::kMeanZeroEdges, .width = setting_.kernel, .shift = 0};
    case Smoothing::kMax: return {.kind = Kind::kMax, .width = setting_.kernel, .shift = 0};
    case Smoothing::kAdaptive: break;
  }
  SmoothingFilter filter{.kind = Kind::kMeanRepeatingEdges, .width = setting_.kernel, .shift = 0};
  // As many rows as the budget leaves beside the window. With a single query, or with nothing to
  // choose, there is no drift to measure.
  const std::size_t chosen = request.budget > request.window ? request.budget - request.window : 0;
  if (attention.rows < 2 || chosen == 0) return filter;
  const double t = attention_drift(attention, chosen, scratch.drift);
  const double step = std::floor(t / setting_.scale);
  const double steps = std::floor(std::abs(t) / setting_.scale);
  filter.width = std::max(setting_.kernel, 2 * static_cast<std::size_t>(steps) + 1);
  // As published: no drift at all shifts by one, a small drift by none.
  filter.shift = static_cast<std::ptrdiff_t>(t > 0 ? step : step + 1);
  trace.number("t", head.index, t);
  trace.number("kernel", head.index, static_cast<double>(filter.width));
  trace.number("shift", head.index, static_cast<double>(filter.shift));
  return filter;
}

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<RestKv>(setting_of(values));
}

constexpr ParamInfo kParams[] = {
    {.name = "alpha",
     .summary = "weight of each newer query in the moving average",
     .kind = ParamKind::kNumber,
     .default_value = "0.3",
     .min = 0,
     .max = 1},
    {.name = "tau",
     .summary = "exponent of the distance (the publication: only after, and with wo)",
     .kind = ParamKind::kNumber,
     .default_value = "1",
     .min = 0,
     .max = 8},
    {.name = "metric",
     .summary = "score after averaging the queries' attention, or before (slower)",
     .kind = ParamKind::kChoice,
     .default_value = "after",
     .choices = "after|before"},
    {.name = "wo",
     .summary = "measure distances after the output projection",
     .kind = ParamKind::kSwitch,
     .default_value = "on"},
    {.name = "ema",
     .summary = "moving average over the queries; off: plain mean",
     .kind = ParamKind::kSwitch,
     .default_value = "on"},
    {.name = "smoothing",
     .summary = "filter over neighbours: shifted by the drift, plain average or maximum, or none",
     .kind = ParamKind::kChoice,
     .default_value = "adaptive",
     .choices = "adaptive|avg|max|none"},
    {.name = "kernel",
     .summary = "least width of the filter, in tokens (21 suits RULER and InfiniteBench)",
     .kind = ParamKind::kInteger,
     .default_value = "5",
     .min = 1,
     .max = 1025},
    {.name = "scale",
     .summary = "drift that shifts the adaptive filter by one more token, in tokens",
     .kind = ParamKind::kNumber,
     .default_value = "2000",
     .min = 1,
     .max = 100000},
};

}  // namespace

extern const PolicyInfo rest_kv_policy;
constinit const PolicyInfo rest_kv_policy{
    .name = "rest-kv",
    .summary = "how far the layer's output would move without the token",
    .paper = "ReST-KV, arXiv 2605.08840",
    .needs = Needs::kWindowQueries | Needs::kOutputProjection,
    .paper_protection = {.sinks = 0, .window = true},
    .scores_depend_on_budget = true,
    .even_window = true,
    .scores_by_group = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
