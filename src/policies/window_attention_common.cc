#include "policies/window_attention_common.h"

#include <algorithm>

namespace restkv {

WindowAttention::WindowAttention(const LayerObservation& layer, const ScoreRequest& request,
                                 std::size_t max_queries)
    : layer_(layer),
      kernels_(*request.kernels),
      group_(static_cast<std::size_t>(layer.group())),
      max_queries_(std::min(max_queries, layer.window_positions.size())) {
  for (const HeadRows& head : layer.heads) {
    heads_.push_back(ranges_of(head.positions, request.window));
    max_rows_ = std::max(max_rows_, head.positions.size());
  }
}

std::size_t WindowAttention::rows(std::size_t kv_head) const {
  return layer_.heads[kv_head].positions.size();
}

WindowAttention::Head WindowAttention::ranges_of(std::span<const Position> rows,
                                                 std::size_t window) const {
  const auto first_at = [&rows](Position position) {
    return static_cast<std::uint32_t>(std::ranges::lower_bound(rows, position) - rows.begin());
  };
  Head head;
  const Position next = layer_.window_positions.back() + 1;
  head.past = first_at(next - static_cast<Position>(window));
  const std::size_t first = layer_.window_positions.size() - max_queries_;
  for (std::size_t i = first; i < layer_.window_positions.size(); ++i) {
    const Position query = layer_.window_positions[i];
    const int sliding = layer_.attention.sliding_window;
    const std::uint32_t begin = sliding > 0 ? first_at(query - sliding + 1) : 0;
    const std::uint32_t end = first_at(query + 1);
    if (begin == end) continue;
    head.query.push_back(i);
    head.begin.push_back(begin);
    head.end.push_back(end);
  }
  return head;
}

View2<const float> WindowAttention::probabilities(std::size_t query_head,
                                                  std::span<float> buffer) const {
  const Head& head = heads_[kv_head(query_head)];
  const HeadRows& rows = layer_.heads[kv_head(query_head)];
  const View2<const float> queries = layer_.window_queries.plane(query_head);
  const std::size_t n_query = head.query.size();
  const std::size_t n_row = rows.positions.size();
  // Queries that follow each other go together: mostly all of them.
  for (std::size_t begin = 0, end = 0; begin < n_query; begin = end) {
    for (end = begin + 1; end < n_query && head.query[end] == head.query[end - 1] + 1;) ++end;
    kernels_.window_attention({.q = queries.row(head.query[begin]).data(),
                               .n_query = end - begin,
                               .head_dim = static_cast<std::size_t>(layer_.head_dim),
                               .keys = {rows.keys, rows.type},
                               .rows = n_row,
                               .row_begin = head.begin.data() + begin,
                               .row_end = head.end.data() + begin,
                               .rule = layer_.attention,
                               .out = buffer.data() + begin * n_row});
  }
  return {buffer.data(), n_query, n_row};
}

void over_group(GroupScore score, View2<const float> values, std::size_t kv_head, std::size_t group,
                std::span<float> out) {
  if (score == GroupScore::kMax) {
    std::ranges::copy(values.row(kv_head * group).first(out.size()), out.begin());
    for (std::size_t g = 1; g < group; ++g) {
      const std::span<const float> head = values.row(kv_head * group + g);
      for (std::size_t j = 0; j < out.size(); ++j) out[j] = std::max(out[j], head[j]);
    }
    return;
  }
  std::ranges::fill(out, 0.0F);
  for (std::size_t g = 0; g < group; ++g) {
    const std::span<const float> head = values.row(kv_head * group + g);
    for (std::size_t j = 0; j < out.size(); ++j) out[j] += head[j];
  }
  const float share = 1.0F / static_cast<float>(group);
  for (float& value : out) value *= share;
}

}  // namespace restkv
