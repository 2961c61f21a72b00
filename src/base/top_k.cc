#include "base/top_k.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace restkv {
namespace {

float comparable(float score) {
  return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
}

}  // namespace

void top_k(std::span<const float> scores, std::size_t k, std::vector<std::uint32_t>& indices) {
  indices.clear();
  if (k == 0) return;
  if (k >= scores.size()) {
    indices.resize(scores.size());
    std::iota(indices.begin(), indices.end(), 0U);
    return;
  }
  // The k-th largest value is the cut: everything above it stays, and of those equal to it the
  // lowest indices, as many as still fit.
  std::vector<float> values(scores.size());
  std::ranges::transform(scores, values.begin(), comparable);
  const auto cut_at = values.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::ranges::nth_element(values, cut_at, std::greater<>());
  const float cut = *cut_at;
  std::size_t above = 0;
  for (const float score : scores) above += comparable(score) > cut ? 1 : 0;
  std::size_t equal_left = k - above;
  indices.reserve(k);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const float score = comparable(scores[i]);
    if (score > cut) {
      indices.push_back(static_cast<std::uint32_t>(i));
    } else if (score == cut && equal_left > 0) {
      indices.push_back(static_cast<std::uint32_t>(i));
      --equal_left;
    }
  }
}

}  // namespace restkv
