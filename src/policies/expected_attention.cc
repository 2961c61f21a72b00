// Expected attention (arXiv 2510.00636): the attention that future queries are expected to pay to a
// token, if they are distributed as the prompt's queries were. Needs no question.
//
// Queries before RoPE are taken as normally distributed, with the mean m and the covariance S of
// the prompt; R is the mean rotation of the next `future` positions. Then exp(q.k * scale) has the
// expectation exp(z), z = scale * k.Rm + scale^2 / 2 * k'RSR'k. A softmax over the keys and the
// mean over the query heads of a group give the attention, which weighs the length of the value.
// Softcap and sliding windows have no place in this expectation and are left out of it.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "policies/row_norms_common.h"
#include "policies/window_attention_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

// Mean of cos and sin over positions, for each pair of elements.
struct MeanRotation {
  std::vector<double> cosine, sine;
  bool adjacent = false;

  MeanRotation(const Rotation& rotation, Position first, int count) : adjacent(rotation.adjacent) {
    for (const double frequency : rotation.frequencies) {
      double cos_sum = 0;
      double sin_sum = 0;
      for (int i = 0; i < count; ++i) {
        cos_sum += std::cos(frequency * (first + i));
        sin_sum += std::sin(frequency * (first + i));
      }
      cosine.push_back(cos_sum / count * rotation.magnitude);
      sine.push_back(sin_sum / count * rotation.magnitude);
    }
  }

  // Turns the vector x[0], x[stride], x[2 * stride], ...
  void apply(double* x, std::size_t stride) const {
    const std::size_t pairs = cosine.size();
    for (std::size_t i = 0; i < pairs; ++i) {
      double& a = x[(adjacent ? 2 * i : i) * stride];
      double& b = x[(adjacent ? 2 * i + 1 : i + pairs) * stride];
      const double turned = a * cosine[i] - b * sine[i];
      b = a * sine[i] + b * cosine[i];
      a = turned;
    }
  }
};

// What the keys of one query head are held against.
struct FutureQuery {
  std::vector<double> covariance;  // [head_dim, head_dim]
  AlignedArray<float> mean;        // [head_dim]
  AlignedArray<float> factor;      // [head_dim, head_dim], upper triangular U: U'U = covariance
};

// The upper triangular U with U'U = a, for a positive semidefinite a [n, n], which is overwritten.
// A pivot that is nothing but rounding gives a row of zeros.
void triangular_root(std::span<double> a, std::size_t n, std::span<float> out) {
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += a[i * n + i];
  const double least = trace * 1e-14;
  std::ranges::fill(out, 0.0F);
  for (std::size_t i = 0; i < n; ++i) {
    const double pivot = a[i * n + i];
    if (!(pivot > least)) continue;
    const double root = std::sqrt(pivot);
    for (std::size_t c = i; c < n; ++c) {
      a[i * n + c] /= root;
      out[i * n + c] = static_cast<float>(a[i * n + c]);
    }
    for (std::size_t r = i + 1; r < n; ++r) {
      const double factor = a[i * n + r];
      for (std::size_t c = r; c < n; ++c) a[r * n + c] -= factor * a[i * n + c];
    }
  }
}

class ExpectedAttention final : public Scorer {
 public:
  explicit ExpectedAttention(const ParamValues& values)
      : future_(values.integer("future")),
        epsilon_(static_cast<float>(values.number("epsilon"))),
        with_covariance_(values.on("covariance")),
        with_values_(values.on("values")) {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    const auto n_head = static_cast<std::size_t>(layer.n_head);
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    const auto group = static_cast<std::size_t>(layer.group());
    std::size_t rows = 0;
    Position end = 0;
    std::vector<std::size_t> starts;  // rows of each KV head that are left out
    for (const HeadRows& head : layer.heads) {
      rows = std::max(rows, head.positions.size());
      end = std::max(end, head.positions.back() + 1);
      starts.push_back(static_cast<std::size_t>(
          std::ranges::lower_bound(head.positions, kStatisticsStart) - head.positions.begin()));
    }
    const MeanRotation rotation(layer.rotation, end, future_);

    // Everything is allocated here: a worker must not throw.
    AlignedArray<float> buffer(n_head * rows);
    const View2<float> attention(buffer.data(), n_head, rows);
    std::vector<FutureQuery> queries(static_cast<std::size_t>(request.threads->count()));
    for (FutureQuery& query : queries) {
      query.mean.reserve(dim);
      query.covariance.resize(with_covariance_ ? dim * dim : 0);
      query.factor.reserve(query.covariance.size());
    }
    request.threads->for_each_worker(n_head, [&](std::size_t head, std::size_t worker) {
      const std::size_t h = head / group;
      const std::span<float> out = attention.row(head).first(scores[h].size());
      std::ranges::fill(out.first(starts[h]), 0.0F);
      if (starts[h] == out.size()) return;
      look_ahead(layer, rotation, head, queries[worker]);
      expect(*request.kernels, layer, h, queries[worker], starts[h], out);
    });

    float largest = 0;
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const HeadRows& head = layer.heads[h];
      std::vector<float> lengths(scores[h].size(), 1.0F);
      if (with_values_) row_norms(*request.kernels, {head.values, head.type}, dim, lengths);
      over_group(request.group_score, attention, h, group, scores[h]);
      for (std::size_t j = starts[h]; j < scores[h].size(); ++j) {
        scores[h][j] = (scores[h][j] + epsilon_) * lengths[j];
        largest = std::max(largest, scores[h][j]);
      }
    }
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::ranges::fill(scores[h].first(starts[h]), largest + 1);
    }
  }

 private:
  // Mean and covariance of one query head's future queries.
  void look_ahead(const LayerObservation& layer, const MeanRotation& rotation, std::size_t head,
                  FutureQuery& query) const {
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    std::array<double, kMaxHeadDim> mean;
    std::ranges::copy(layer.query_statistics.means.row(head), mean.begin());
    rotation.apply(mean.data(), 1);
    for (std::size_t d = 0; d < dim; ++d) query.mean.data()[d] = static_cast<float>(mean[d]);
    if (!with_covariance_) return;
    const View2<const double> plain = layer.query_statistics.covariances.plane(head);
    std::copy_n(plain.data, dim * dim, query.covariance.begin());
    for (std::size_t d = 0; d < dim; ++d) rotation.apply(query.covariance.data() + d * dim, 1);
    for (std::size_t d = 0; d < dim; ++d) rotation.apply(query.covariance.data() + d, dim);
    triangular_root(query.covariance, dim, query.factor.span());
  }

  // out[j] = softmax of z over the rows from `start` on.
  void expect(const KernelTable& kernels, const LayerObservation& layer, std::size_t h,
              const FutureQuery& query, std::size_t start, std::span<float> out) const {
    const HeadRows& head = layer.heads[h];
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    const std::size_t row_bytes = kv_row_bytes(head.type, dim);
    const std::array<float, kMaxHeadDim> origin = {};
    std::array<float, kMaxHeadDim> key;
    const float scale = layer.attention.scale;
    if (with_covariance_) {
      kernels.output_distances(query.factor.data(), origin.data(), {head.keys, head.type},
                               out.size(), dim, out.data());
    } else {
      std::ranges::fill(out, 0.0F);
    }
    float most = std::numeric_limits<float>::lowest();
    for (std::size_t j = start; j < out.size(); ++j) {
      kernels.decode_row(head.type, head.keys + j * row_bytes, key.data(), dim);
      const float spread = scale * out[j];
      out[j] = scale * kernels.dot(key.data(), query.mean.data(), dim) + spread * spread / 2;
      most = std::max(most, out[j]);
    }
    double sum = 0;
    for (float& z : out.subspan(start)) sum += static_cast<double>(z = std::exp(z - most));
    std::ranges::fill(out.first(start), 0.0F);
    for (float& z : out.subspan(start)) z = static_cast<float>(static_cast<double>(z) / sum);
  }

  int future_;
  float epsilon_;
  bool with_covariance_;
  bool with_values_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<ExpectedAttention>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "future",
     .summary = "positions after the prompt over which the rotation is averaged, in tokens",
     .kind = ParamKind::kInteger,
     .default_value = "512",
     .min = 1,
     .max = 65536},
    {.name = "covariance",
     .summary = "count on the spread of the queries; off: on their mean alone",
     .kind = ParamKind::kSwitch,
     .default_value = "on"},
    {.name = "values",
     .summary = "weigh the length of the value",
     .kind = ParamKind::kSwitch,
     .default_value = "on"},
    {.name = "epsilon",
     .summary = "added to the attention before that (0.01 in the registry of NVIDIA/kvpress)",
     .kind = ParamKind::kNumber,
     .default_value = "0",
     .min = 0,
     .max = 1},
};

}  // namespace

extern const PolicyInfo expected_attention_policy;
constinit const PolicyInfo expected_attention_policy{
    .name = "expected-attention",
    .summary = "attention expected from future queries like those of the prompt",
    .paper = "Expected Attention, arXiv 2510.00636",
    .needs = Needs::kQueryStatistics,
    .paper_protection = {.sinks = 4, .window = false},
    .scores_by_group = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
