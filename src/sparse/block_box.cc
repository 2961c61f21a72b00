#include "sparse/block_box.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace restkv {
namespace {

// Turns the extremes of each channel into the middle -/+ the mean distance from it.
void centre(View2<const float> keys, std::span<float> low, std::span<float> high) {
  const auto rows = static_cast<float>(keys.rows);
  for (std::size_t d = 0; d < low.size(); ++d) {
    const float middle = (high[d] + low[d]) / 2;
    float distance = 0;
    for (std::size_t i = 0; i < keys.rows; ++i) distance += std::abs(keys.row(i)[d] - middle);
    low[d] = middle - distance / rows;
    high[d] = middle + distance / rows;
  }
}

}  // namespace

void make_box(BoxKind kind, View2<const float> keys, std::span<float> low, std::span<float> high) {
  RESTKV_DCHECK(keys.rows > 0 && keys.cols == low.size() && keys.cols == high.size());
  std::ranges::copy(keys.row(0), low.begin());
  std::ranges::copy(keys.row(0), high.begin());
  for (std::size_t i = 1; i < keys.rows; ++i) {
    const std::span<const float> row = keys.row(i);
    for (std::size_t d = 0; d < row.size(); ++d) {
      low[d] = std::min(low[d], row[d]);
      high[d] = std::max(high[d], row[d]);
    }
  }
  if (kind == BoxKind::kCentred) centre(keys, low, high);
}

void split_query(std::span<const float> query, std::span<float> split) {
  const std::size_t n = query.size();
  for (std::size_t d = 0; d < n; ++d) {
    split[d] = std::min(query[d], 0.0F);
    split[n + d] = std::max(query[d], 0.0F);
  }
}

}  // namespace restkv
