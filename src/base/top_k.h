#pragma once

// Selection of the largest: the one place that breaks ties.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace restkv {

// Indices of the k largest scores, ascending. Equal scores: the lower index wins. NaN counts as the
// smallest. k beyond the size takes all. O(n).
void top_k(std::span<const float> scores, std::size_t k, std::vector<std::uint32_t>& indices);

// The same behind what `indices` holds, each index `offset` higher. keys: scratch, at least as many
// as scores. Allocates nothing when `indices` has room for k more.
void append_top_k(std::span<const float> scores, std::size_t k, std::uint32_t offset,
                  std::span<std::int32_t> keys, std::vector<std::uint32_t>& indices);

}  // namespace restkv
