#pragma once

// One cut through the scores of many heads: what the allocators share in which heads compete.

#include <cstddef>
#include <span>

namespace restkv {

// counts[h] = how many of the `total` best rows are rows of head h, when the floors[h] best rows of
// every head come before all others. Floors that come to more than `total` are met all the same.
// Equal scores: the lower head wins, then the lower row. O(rows of all heads).
// REQUIRES: floors[h] <= scores[h].size(); one floor and one count for each head.
void one_cut(std::span<const std::span<const float>> scores, std::span<const std::size_t> floors,
             std::size_t total, std::span<std::size_t> counts);

}  // namespace restkv
