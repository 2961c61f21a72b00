#include "base/top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace restkv {
namespace {

// Integers in the order of the scores: equal scores have equal keys, -0 that of 0.
std::int32_t key_of(float score) {
  const float comparable = std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
  const auto bits = std::bit_cast<std::int32_t>(comparable + 0.0F);
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}

std::size_t count_from(std::span<const std::int32_t> keys, std::int32_t least) {
  std::uint32_t count = 0;  // as wide as a key, so that a vector counts as many as it holds
  for (const std::int32_t key : keys) count += key >= least ? 1 : 0;
  return count;
}

// The largest number that at least k keys reach; or one that exactly k reach. By halving: that
// takes up to 32 passes over the keys, which do not branch, and sorting in part is slower.
// REQUIRES: 0 < k <= keys.size().
std::int32_t cut_of(std::span<const std::int32_t> keys, std::size_t k) {
  std::int32_t least = keys.front();
  std::int32_t most = keys.front();
  for (const std::int32_t key : keys) {
    least = std::min(least, key);
    most = std::max(most, key);
  }
  std::int64_t low = least;  // at least k reach it
  std::int64_t high = most;  // fewer than k reach what is above
  while (low < high) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    const std::size_t count = count_from(keys, static_cast<std::int32_t>(middle));
    if (count == k) return static_cast<std::int32_t>(middle);
    if (count > k) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return static_cast<std::int32_t>(low);
}

}  // namespace

void append_top_k(std::span<const float> scores, std::size_t k, std::uint32_t offset,
                  std::span<std::int32_t> keys, std::vector<std::uint32_t>& indices) {
  const std::size_t before = indices.size();
  if (k == 0) return;
  if (k >= scores.size()) {
    indices.resize(before + scores.size());
    std::iota(indices.begin() + static_cast<std::ptrdiff_t>(before), indices.end(), offset);
    return;
  }
  const std::span<std::int32_t> used = keys.first(scores.size());
  std::ranges::transform(scores, used.begin(), key_of);
  // Everything above the cut stays, and of those equal to it the lowest indices, as many as still
  // fit.
  const std::int32_t cut = cut_of(used, k);
  std::size_t equal_left = k - count_from(used, cut + 1);
  indices.resize(before + k);
  std::uint32_t* const out = indices.data() + before;
  for (std::size_t i = 0, taken = 0; taken < k; ++i) {
    const bool is_equal = used[i] == cut && equal_left > 0;
    out[taken] = offset + static_cast<std::uint32_t>(i);
    taken += used[i] > cut || is_equal ? 1 : 0;
    equal_left -= is_equal ? 1 : 0;
  }
}

void top_k(std::span<const float> scores, std::size_t k, std::vector<std::uint32_t>& indices) {
  indices.clear();
  std::vector<std::int32_t> keys(k < scores.size() ? scores.size() : 0);
  append_top_k(scores, k, 0, keys, indices);
}

}  // namespace restkv
