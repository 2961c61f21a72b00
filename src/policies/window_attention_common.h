#pragma once

// What the policies that look at attention share: the probabilities that the newest queries of the
// sequence give to the rows of their KV head.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "restkv/policy.h"
#include "restkv/views.h"

namespace restkv {

// Which rows each query sees, worked out once per layer. Holds a reference to the layer.
class WindowAttention {
 public:
  // Takes the newest `max_queries` of the queries that are shown, or as many as there are.
  WindowAttention(const LayerObservation& layer, const ScoreRequest& request,
                  std::size_t max_queries);

  [[nodiscard]] std::size_t rows(std::size_t kv_head) const;
  // Rows before the observation window; the window's own rows come after them.
  [[nodiscard]] std::size_t past(std::size_t kv_head) const { return heads_[kv_head].past; }
  [[nodiscard]] std::size_t kv_head(std::size_t query_head) const { return query_head / group_; }
  // Of any head.
  [[nodiscard]] std::size_t max_rows() const { return max_rows_; }
  // Floats that probabilities() needs, whatever the head.
  [[nodiscard]] std::size_t buffer_size() const { return max_queries_ * max_rows_; }

  // [queries, rows of the KV head], oldest query first; exactly 0 where a query does not see a row.
  // A query that sees no row at all (its rows have left a sliding window) is left out. The view is
  // into `buffer`.
  View2<const float> probabilities(std::size_t query_head, std::span<float> buffer) const;

 private:
  struct Head {
    std::size_t past = 0;
    std::vector<std::size_t> query;         // those that see a row, of window_queries
    std::vector<std::uint32_t> begin, end;  // their rows, [query.size()]
  };
  [[nodiscard]] Head ranges_of(std::span<const Position> rows, std::size_t window) const;

  const LayerObservation& layer_;
  const KernelTable& kernels_;
  std::size_t group_;
  std::size_t max_queries_;
  std::size_t max_rows_ = 0;
  std::vector<Head> heads_;
};

// out[row] = mean or maximum of values[head][row] over the query heads of one KV head; values:
// [n_head, cols] with at least out.size() columns.
void over_group(GroupScore score, View2<const float> values, std::size_t kv_head, std::size_t group,
                std::span<float> out);

}  // namespace restkv
