#include "sparse/block_recall.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "sparse/block_summaries.h"

namespace restkv {
namespace {

// Of a query or a mean over queries.
struct Caught {
  double attention = 0;  // share of it
  double rows = 0;       // share of those seen that were read
};

// One KV head as its newest queries see it.
class HeadAttention {
 public:
  HeadAttention(const LayerObservation& layer, const RecallRequest& request, std::size_t head);

  // Mean over the queries with blocks of this size.
  [[nodiscard]] Caught recall(std::size_t block_rows);

 private:
  [[nodiscard]] Caught caught(std::size_t query, std::size_t block_rows);

  const RecallRequest& request_;
  const HeadRows& rows_;
  std::size_t dim_, group_, queries_;
  std::vector<std::uint32_t> end_;    // [queries] rows that each sees
  std::vector<float> q_;              // [queries, group, dim]
  std::vector<float> probabilities_;  // [group, queries, rows]
  std::vector<float> scores_;         // of the blocks, for one query
  std::vector<std::int32_t> keys_;
  std::vector<std::uint32_t> blocks_;
};

HeadAttention::HeadAttention(const LayerObservation& layer, const RecallRequest& request,
                             std::size_t head)
    : request_(request),
      rows_(layer.heads[head]),
      dim_(static_cast<std::size_t>(layer.head_dim)),
      group_(static_cast<std::size_t>(layer.group())),
      queries_(layer.window_queries.rows) {
  const std::size_t n = rows_.positions.size();
  for (const Position position : layer.window_positions) {
    const auto end = std::ranges::upper_bound(rows_.positions, position);
    end_.push_back(static_cast<std::uint32_t>(end - rows_.positions.begin()));
  }
  q_.resize(queries_ * group_ * dim_);
  for (std::size_t g = 0; g < group_; ++g) {
    const View2<const float> plane = layer.window_queries.plane(head * group_ + g);
    for (std::size_t i = 0; i < queries_; ++i) {
      std::ranges::copy(plane.row(i), q_.data() + (i * group_ + g) * dim_);
    }
  }
  probabilities_.resize(group_ * queries_ * n);
  const std::vector<std::uint32_t> begin(queries_, 0);
  request.threads->for_each(group_, [&](std::size_t g) {
    request.kernels->window_attention({.q = layer.window_queries.plane(head * group_ + g).data,
                                       .n_query = queries_,
                                       .head_dim = dim_,
                                       .keys = {rows_.keys, rows_.type},
                                       .rows = n,
                                       .row_begin = begin.data(),
                                       .row_end = end_.data(),
                                       .rule = layer.attention,
                                       .out = probabilities_.data() + g * queries_ * n});
  });
}

Caught HeadAttention::recall(std::size_t block_rows) {
  const std::size_t n = rows_.positions.size();
  const std::size_t row_bytes = kv_row_bytes(rows_.type, dim_);
  std::vector<PageView> pages;
  for (std::size_t i = 0; i < n; i += kPageRows) {
    pages.push_back({.keys = rows_.keys + i * row_bytes,
                     .values = nullptr,
                     .rows = static_cast<std::uint32_t>(std::min(kPageRows, n - i))});
  }
  BlockSummaries summaries({.box = request_.plan->box,
                            .type = request_.plan->summaries,
                            .block_rows = block_rows,
                            .head_dim = dim_});
  const std::size_t count = summarised_blocks(n, block_rows);
  std::vector<float> scratch(std::max(summaries.update_scratch(), summaries.score_scratch(group_)));
  summaries.reserve(count);
  summaries.update(*request_.kernels, rows_.type, pages, count, scratch.data());
  scores_.resize(count);
  keys_.resize(count);
  Caught sum;
  for (std::size_t i = 0; i < queries_; ++i) {
    summaries.score(*request_.kernels, q_.data() + i * group_ * dim_, group_, request_.plan->merge,
                    scores_, scratch.data());
    const Caught one = caught(i, block_rows);
    sum.attention += one.attention;
    sum.rows += one.rows;
  }
  const auto n_query = static_cast<double>(queries_);
  return {.attention = sum.attention / n_query, .rows = sum.rows / n_query};
}

// What the query heads of one query find in the chosen blocks, on average. scores_ holds its
// scores.
Caught HeadAttention::caught(std::size_t query, std::size_t block_rows) {
  const std::size_t n = rows_.positions.size();
  const std::size_t seen = end_[query];
  const std::size_t budget = recall_rows(request_.budget, seen, request_.least_rows);
  if (budget >= seen) return {.attention = 1, .rows = 1};
  const std::span<const float> scores =
      std::span(scores_).first(summarised_blocks(seen, block_rows));
  select_blocks(*request_.plan, scores, picked_blocks(*request_.plan, block_rows, budget), keys_,
                blocks_);
  double sum = 0;
  for (std::size_t g = 0; g < group_; ++g) {
    const float* const row = probabilities_.data() + (g * queries_ + query) * n;
    for (const std::uint32_t block : blocks_) {
      const std::size_t end = std::min((block + 1) * block_rows, seen);
      for (std::size_t j = block * block_rows; j < end; ++j) sum += static_cast<double>(row[j]);
    }
  }
  std::size_t read = 0;
  for (const std::uint32_t block : blocks_) {
    read += std::min((block + 1) * block_rows, seen) - block * block_rows;
  }
  return {.attention = sum / static_cast<double>(group_),
          .rows = static_cast<double>(read) / static_cast<double>(seen)};
}

}  // namespace

std::size_t recall_rows(const Budget& budget, std::size_t seen, std::size_t least_rows) {
  return std::min(seen, std::max(least_rows, decode_budget_rows(budget, seen)));
}

void add_block_recall(const LayerObservation& layer, const RecallRequest& request,
                      std::span<HeadRecall> sums) {
  for (std::size_t h = 0; h < sums.size(); ++h) {
    HeadAttention head(layer, request, h);
    for (std::size_t size = 0; size < kBlockSizes.size(); ++size) {
      const Caught caught = head.recall(kBlockSizes[size]);
      sums[h][size] += caught.attention;
      if (!request.read.empty()) request.read[h][size] += caught.rows;
    }
  }
}

}  // namespace restkv
