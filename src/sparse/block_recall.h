#pragma once

// How much attention a head's chosen blocks catch: what calibration measures.

#include <cstddef>
#include <span>

#include "restkv/budget.h"
#include "restkv/policy.h"
#include "sparse/block_allocation.h"
#include "sparse/selection_plan.h"

namespace restkv {

// Three of the largest blocks: with less, the rule that at least three are read would give large
// blocks more rows than small ones, and the sizes could not be compared.
inline constexpr std::size_t kLeastRecallRows = 3 * kBlockSizes.back();

// Rows that a query which sees `seen` may read: the budget's, raised to least_rows; never more than
// it sees.
[[nodiscard]] std::size_t recall_rows(const Budget& budget, std::size_t seen,
                                      std::size_t least_rows = kLeastRecallRows);

// Adds to sums[h], for every KV head h and each of kBlockSizes, the attention that the newest
// queries pay to the rows that decode would read for them: the mean over the observed queries and
// the query heads of the group. A query sees the rows up to its own position, its blocks are scored
// and chosen as in decode, and the budget is of the rows that it sees, raised to least_rows.
// REQUIRES: sums.size() == layer.n_kv_head; window queries are there; no sliding window.
struct RecallRequest {
  const SelectionPlan* plan = nullptr;  // its block_rows is not used
  Budget budget;
  std::size_t least_rows = kLeastRecallRows;
  const KernelTable* kernels = nullptr;
  const Threads* threads = nullptr;
  // As sums, when not empty: adds the share of the rows seen that was read. REQUIRES: empty, or as
  // many as sums.
  std::span<HeadRecall> read = {};
};
void add_block_recall(const LayerObservation& layer, const RecallRequest& request,
                      std::span<HeadRecall> sums);

}  // namespace restkv
