#include "policies/layers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/check.h"
#include "kernels/linear_algebra.h"

namespace restkv {

TestLayer::TestLayer(const LayerShape& shape)
    : shape_(shape), dim_(static_cast<std::size_t>(shape.head_dim)) {
  heads_.resize(static_cast<std::size_t>(shape.n_kv_head));
  for (Head& head : heads_) {
    head.keys.resize(shape.rows * dim_);
    head.values.resize(shape.rows * dim_);
    head.sums.resize(shape.rows);
    head.positions.resize(shape.rows);
    std::iota(head.positions.begin(), head.positions.end(), 0);
  }
  queries_.resize(static_cast<std::size_t>(shape.n_head) * shape.queries * dim_);
  projection_.resize(shape.hidden * static_cast<std::size_t>(shape.n_head) * dim_);
  window_positions_.resize(shape.queries);
  std::iota(window_positions_.begin(), window_positions_.end(),
            static_cast<Position>(shape.rows - shape.queries));
}

TestLayer TestLayer::random(const LayerShape& shape, std::uint32_t seed) {
  TestLayer layer(shape);
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  const auto draw = [&](std::vector<float>& values, float spread) {
    for (float& value : values) value = spread * normal(engine);
  };
  for (Head& head : layer.heads_) {
    draw(head.keys, 1.5F);
    draw(head.values, 1.0F);
    draw(head.sums, 1.0F);
    for (float& sum : head.sums) sum = std::abs(sum);
  }
  draw(layer.queries_, 1.5F);
  draw(layer.projection_, 0.3F);
  layer.seal();
  return layer;
}

TestLayer TestLayer::integers(const LayerShape& shape, int limit, std::uint32_t seed) {
  RESTKV_CHECK(shape.hidden == static_cast<std::size_t>(shape.head_dim));
  TestLayer layer(shape);
  std::mt19937 engine(seed);
  const auto draw = [&](std::vector<float>& values) {
    const auto choices = static_cast<std::uint32_t>(2 * limit + 1);
    for (float& value : values)
      value = static_cast<float>(static_cast<int>(engine() % choices) - limit);
  };
  for (Head& head : layer.heads_) {
    draw(head.keys);
    draw(head.values);
    draw(head.sums);
  }
  draw(layer.queries_);
  for (std::size_t head = 0; head < static_cast<std::size_t>(shape.n_head); ++head) {
    for (std::size_t d = 0; d < layer.dim_; ++d) layer.projection(d, head * layer.dim_ + d) = 1.0F;
  }
  layer.seal();
  return layer;
}

std::span<float> TestLayer::key(std::size_t h, std::size_t row) {
  return std::span(heads_[h].keys).subspan(row * dim_, dim_);
}
std::span<float> TestLayer::value(std::size_t h, std::size_t row) {
  return std::span(heads_[h].values).subspan(row * dim_, dim_);
}
std::span<const float> TestLayer::key(std::size_t h, std::size_t row) const {
  return std::span(heads_[h].keys).subspan(row * dim_, dim_);
}
std::span<const float> TestLayer::value(std::size_t h, std::size_t row) const {
  return std::span(heads_[h].values).subspan(row * dim_, dim_);
}
std::span<float> TestLayer::query(std::size_t head, std::size_t i) {
  return std::span(queries_).subspan((head * shape_.queries + i) * dim_, dim_);
}
std::span<const float> TestLayer::query(std::size_t head, std::size_t i) const {
  return std::span(queries_).subspan((head * shape_.queries + i) * dim_, dim_);
}
float& TestLayer::projection(std::size_t row, std::size_t column) {
  return projection_[row * static_cast<std::size_t>(shape_.n_head) * dim_ + column];
}
float TestLayer::projection(std::size_t row, std::size_t column) const {
  return projection_[row * static_cast<std::size_t>(shape_.n_head) * dim_ + column];
}
const std::vector<Position>& TestLayer::positions(std::size_t h) const {
  return heads_[h].positions;
}

void TestLayer::keep_positions(std::size_t h, std::span<const Position> positions) {
  Head kept;
  Head& head = heads_[h];
  for (std::size_t i = 0; i < head.positions.size(); ++i) {
    if (!std::ranges::binary_search(positions, head.positions[i])) continue;
    kept.positions.push_back(head.positions[i]);
    kept.sums.push_back(head.sums[i]);
    const auto copy = [&](const std::vector<float>& from, std::vector<float>& to) {
      const auto first = from.begin() + static_cast<std::ptrdiff_t>(i * dim_);
      to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(dim_));
    };
    copy(head.keys, kept.keys);
    copy(head.values, kept.values);
  }
  head = std::move(kept);
  seal();
}

void TestLayer::seal() {
  const KernelTable& kernels = best_table();
  const std::size_t row_bytes = kv_row_bytes(shape_.type, dim_);
  views_.clear();
  sum_views_.clear();
  for (Head& head : heads_) {
    const auto encode = [&](std::vector<float>& from, std::vector<std::byte>& to) {
      to.resize(from.size() / dim_ * row_bytes);
      for (std::size_t i = 0; i * dim_ < from.size(); ++i) {
        kernels.encode_row(shape_.type, from.data() + i * dim_, to.data() + i * row_bytes, dim_);
        kernels.decode_row(shape_.type, to.data() + i * row_bytes, from.data() + i * dim_, dim_);
      }
    };
    encode(head.keys, head.key_bytes);
    encode(head.values, head.value_bytes);
    views_.push_back({.keys = head.key_bytes.data(),
                      .values = head.value_bytes.data(),
                      .type = shape_.type,
                      .positions = head.positions});
    sum_views_.emplace_back(head.sums);
  }
  const auto n_head = static_cast<std::size_t>(shape_.n_head);
  factors_.resize(n_head * dim_ * dim_);
  columns_.resize(n_head * dim_ * shape_.hidden);
  std::vector<float> overwritten(dim_ * shape_.hidden);
  for (std::size_t head = 0; head < n_head; ++head) {
    float* columns = columns_.data() + head * dim_ * shape_.hidden;
    for (std::size_t d = 0; d < dim_; ++d) {
      for (std::size_t row = 0; row < shape_.hidden; ++row) {
        columns[d * shape_.hidden + row] = std::as_const(*this).projection(row, head * dim_ + d);
      }
    }
    std::copy_n(columns, overwritten.size(), overwritten.begin());
    triangular_factor(kernels, overwritten.data(), shape_.hidden, dim_,
                      factors_.data() + head * dim_ * dim_);
  }
  count_queries();
  observation_ = {.layer = 1,
                  .n_layer = 4,
                  .n_head = shape_.n_head,
                  .n_kv_head = shape_.n_kv_head,
                  .head_dim = shape_.head_dim,
                  .attention = shape_.attention,
                  .heads = views_,
                  .window_queries = {queries_.data(), n_head, shape_.queries, dim_},
                  .window_positions = window_positions_,
                  .output_factors = {factors_.data(), n_head, dim_, dim_},
                  .column_sums = sum_views_,
                  .output_columns = {columns_.data(), n_head, dim_, shape_.hidden},
                  .query_statistics = {.count = shape_.queries,
                                       .means = {means_.data(), n_head, dim_},
                                       .covariances = {covariances_.data(), n_head, dim_, dim_}},
                  .rotation = {.frequencies = frequencies_, .magnitude = 1.0, .adjacent = false},
                  .replay_worth = sum_views_};
}

void TestLayer::count_queries() {
  const auto n_head = static_cast<std::size_t>(shape_.n_head);
  const auto count = static_cast<double>(shape_.queries);
  means_.assign(n_head * dim_, 0.0);
  covariances_.assign(n_head * dim_ * dim_, 0.0);
  for (std::size_t head = 0; head < n_head; ++head) {
    double* mean = means_.data() + head * dim_;
    for (std::size_t i = 0; i < shape_.queries; ++i) {
      for (std::size_t d = 0; d < dim_; ++d) mean[d] += double{query(head, i)[d]} / count;
    }
    for (std::size_t i = 0; i < shape_.queries; ++i) {
      const std::span<const float> q = query(head, i);
      for (std::size_t r = 0; r < dim_; ++r) {
        for (std::size_t c = 0; c < dim_; ++c) {
          covariances_[(head * dim_ + r) * dim_ + c] +=
              (double{q[r]} - mean[r]) * (double{q[c]} - mean[c]) / count;
        }
      }
    }
  }
  frequencies_.clear();
  for (std::size_t i = 0; i < dim_ / 2; ++i) {
    frequencies_.push_back(
        std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim_)));
  }
}

void RecordedTrace::array(std::string_view name, int index, std::span<const float> values) {
  arrays_[{std::string(name), index}] = {values.begin(), values.end()};
}
const std::vector<float>& RecordedTrace::of(std::string_view name, int index) const {
  return arrays_.at({std::string(name), index});
}
bool RecordedTrace::has(std::string_view name, int index) const {
  return arrays_.contains({std::string(name), index});
}

HeadScores scores_of(const ScoreCall& call, const LayerObservation& layer) {
  const auto named = parse_named_params(call.policy);
  RESTKV_CHECK(named.ok());
  const PolicyInfo* info = find_policy(named->name);
  RESTKV_CHECK(info != nullptr);
  const auto values = ParamValues::parse(info->name, info->params, named->assignments);
  RESTKV_CHECK(values.ok());
  HeadScores scores;
  for (const HeadRows& head : layer.heads) {
    scores.emplace_back(head.positions.size(), std::numeric_limits<float>::quiet_NaN());
  }
  const std::vector<std::span<float>> views(scores.begin(), scores.end());
  const Threads threads(call.threads);
  info->make(*values)->score(layer,
                             {.budget = call.budget,
                              .window = call.window,
                              .seed = call.seed,
                              .group_score = call.group_score,
                              .kernels = call.kernels != nullptr ? call.kernels : &best_table(),
                              .threads = &threads,
                              .trace = call.trace},
                             views);
  return scores;
}

Matrix plain_attention(const TestLayer& layer, std::size_t head) {
  const LayerShape& shape = layer.shape();
  const std::size_t h = head / layer.group();
  const std::vector<Position>& positions = layer.positions(h);
  Matrix attention(shape.queries, std::vector<double>(positions.size(), 0.0));
  for (std::size_t i = 0; i < shape.queries; ++i) {
    const auto at = static_cast<Position>(shape.rows - shape.queries + i);
    double sum = 0;
    double max = -std::numeric_limits<double>::infinity();
    std::vector<double> logits(positions.size(), max);
    for (std::size_t j = 0; j < positions.size(); ++j) {
      const int sliding = shape.attention.sliding_window;
      if (positions[j] > at || (sliding > 0 && positions[j] <= at - sliding)) continue;
      const auto query = layer.query(head, i);
      const auto key = layer.key(h, j);
      double logit = std::inner_product(query.begin(), query.end(), key.begin(), 0.0);
      logit *= shape.attention.scale;
      const double cap = shape.attention.softcap;
      logits[j] = cap > 0 ? cap * std::tanh(logit / cap) : logit;
      max = std::max(max, logits[j]);
    }
    for (std::size_t j = 0; j < positions.size(); ++j) {
      attention[i][j] = std::isinf(logits[j]) ? 0.0 : std::exp(logits[j] - max);
      sum += attention[i][j];
    }
    if (sum > 0) {
      for (double& probability : attention[i]) probability /= sum;
    }
  }
  return attention;
}

std::size_t plain_past(const TestLayer& layer, std::size_t h, std::size_t window) {
  const auto first = static_cast<Position>(layer.shape().rows) - static_cast<Position>(window);
  return static_cast<std::size_t>(std::ranges::count_if(
      layer.positions(h), [first](Position position) { return position < first; }));
}

std::vector<std::size_t> plain_top(std::span<const double> values, std::size_t k) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(std::min(k, order.size()));
  return order;
}

}  // namespace restkv
