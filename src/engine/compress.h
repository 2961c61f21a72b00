#pragma once

// From scores and a budget to the rows that stay: the one place where protection, allocation and
// selection meet.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "engine/variant.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"

namespace restkv {

// Indices of kept rows, strictly increasing, for each KV head.
using KeepSets = std::vector<std::vector<std::uint32_t>>;
// Scores of every row, for each KV head.
using LayerScores = std::vector<std::vector<float>>;

// Asks the variant's scorer about one layer.
[[nodiscard]] LayerScores score_layer(const Variant& variant, const LayerObservation& layer,
                                      std::size_t budget, const KernelTable& kernels,
                                      const Threads& threads);

// Where the scores leave the variant's scorer, for each KV head; nothing without Needs::kCursor.
[[nodiscard]] std::vector<PolicyCut> cut_layer(const Variant& variant,
                                               const LayerObservation& layer, std::size_t budget);

// Shows the variant's scorer queries of a replay, which raises worth[h][row] (Scorer::replay).
void replay_layer(const Variant& variant, const LayerObservation& layer, const KernelTable& kernels,
                  const Threads& threads, LayerScores& worth);

// Scores with every protected row at +infinity, and nothing else there.
struct ProtectedScores {
  LayerScores scores;
  std::vector<std::size_t> rows;  // protected ones of each KV head
};
[[nodiscard]] ProtectedScores protect_scores(const Variant& variant, const LayerObservation& layer,
                                             const LayerScores& scores, Position next_position);

// True when a policy has something to say: some row of the layer is not protected.
[[nodiscard]] bool any_to_score(const Variant& variant, const LayerObservation& layer,
                                Position next_position);

// The rows that stay, for an allocator that divides within a layer. next_position: position after
// the newest row. Every protected row stays, counts are what the allocator says within [protected,
// rows], ties go to the lower position. full_rows: as full_rows() of the cache says, or 0 where no
// row was dropped before. An allocator that divides by length alone is told these: what it gives to
// a layer stays the same from turn to turn and from step to step, whatever the layer has dropped
// before. cuts: as cut_layer() says, for a head to keep as many rows fewer; or nothing.
[[nodiscard]] KeepSets choose_rows(const Variant& variant, const LayerObservation& layer,
                                   const LayerScores& scores, std::size_t budget,
                                   Position next_position, std::size_t full_rows = 0,
                                   std::span<const PolicyCut> cuts = {});

// False when choose_rows() would keep every row, as far as that can be told without scores.
[[nodiscard]] bool must_drop(const Variant& variant, const LayerObservation& layer,
                             std::size_t budget, Position next_position, std::size_t full_rows);

}  // namespace restkv
