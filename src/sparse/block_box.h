#pragma once

// The box around the keys of a block, and what it promises a query. Exact, in f32: stores round the
// boxes afterwards.

#include <cstddef>
#include <span>

#include "restkv/views.h"
#include "sparse/selection_plan.h"

namespace restkv {

// low, high: [head_dim]. keys: [rows, head_dim], at least one row. kMinMax: the smallest and the
// largest value of each channel. kCentred: c - d and c + d with c = (largest + smallest) / 2 and
// d = mean of |key - c|, each per channel.
void make_box(BoxKind kind, View2<const float> keys, std::span<float> low, std::span<float> high);

// Splits queries so that a box is scored by one product: sum over d of max(q_d low_d, q_d high_d) =
// [min(q, 0), max(q, 0)] . [low, high], because low <= high. query: [n]; split: [2 n].
void split_query(std::span<const float> query, std::span<float> split);

}  // namespace restkv
