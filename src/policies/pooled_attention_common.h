#pragma once

// What SnapKV scores with and others build on: the attention of the newest queries, summed over the
// queries, averaged over the query heads of a KV head and spread to the neighbours.

#include <cstddef>
#include <span>
#include <vector>

#include "policies/smoothing_common.h"
#include "restkv/policy.h"

namespace restkv {

// Fills scores[h] for the rows before the observation window, and the window's rows with 0. Returns
// how many rows of each KV head are before the window.
// REQUIRES: as Scorer::score(), with Needs::kWindowQueries.
std::vector<std::size_t> pooled_window_attention(const LayerObservation& layer,
                                                 const ScoreRequest& request,
                                                 const SmoothingFilter& filter,
                                                 std::span<const std::span<float>> scores);

}  // namespace restkv
