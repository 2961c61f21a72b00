#pragma once

// How far attention moves inside the observation window.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "restkv/views.h"

namespace restkv {

// Memory that attention_drift() works in.
class DriftScratch {
 public:
  // Makes room for rows of `n` probabilities.
  void reserve(std::size_t n) { candidates.reserve(n); }

  static constexpr std::size_t kBins = 2048;
  std::array<std::uint32_t, kBins> bins = {};
  std::vector<std::uint32_t> candidates;
};

// Mean index of the `count` largest entries of the rows in the first half, minus that of the rows
// in the second half (an odd middle row belongs to neither). Equal entries: the lower index counts.
// attention: [queries, rows], values >= 0. Exactly 0 when both halves choose the same indices.
// Does not allocate within what the scratch has reserved.
// REQUIRES: at least two queries; count >= 1.
[[nodiscard]] double attention_drift(View2<const float> attention, std::size_t count,
                                     DriftScratch& scratch);

}  // namespace restkv
