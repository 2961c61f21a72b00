#include "policies/drift_common.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace restkv {
namespace {

// The bits of floats >= 0 stand in the same order as the floats.
std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// Exponent and the three highest bits of the mantissa.
std::size_t bin_of(std::uint32_t bits) { return bits >> 20 & (DriftScratch::kBins - 1); }

// Only the SET of the largest matters, so nothing is sorted: a histogram finds the bin that holds
// the count-th largest entry, and a selection inside that bin finds the entry.
// REQUIRES: 1 <= count < row.size()
struct Cut {
  std::uint32_t bits = 0;  // of the count-th largest entry
  std::size_t equal = 0;   // how many entries of that value belong to the set
};
Cut find_cut(std::span<const float> row, std::size_t count, DriftScratch& scratch) {
  scratch.bins.fill(0);
  for (const float value : row) ++scratch.bins[bin_of(bits_of(value))];
  std::size_t bin = DriftScratch::kBins - 1;
  std::size_t left = count;
  while (scratch.bins[bin] < left) left -= scratch.bins[bin--];

  std::vector<std::uint32_t>& candidates = scratch.candidates;
  candidates.clear();
  for (const float value : row) {
    if (bin_of(bits_of(value)) == bin) candidates.push_back(bits_of(value));
  }
  const auto cut_at = candidates.begin() + static_cast<std::ptrdiff_t>(left - 1);
  std::ranges::nth_element(candidates, cut_at, std::greater<>());
  // Everything before the cut is at least as large; what is strictly larger takes its places first.
  const std::uint32_t bits = *cut_at;
  const auto larger = std::count_if(candidates.begin(), cut_at,
                                    [bits](std::uint32_t other) { return other > bits; });
  return {.bits = bits, .equal = left - static_cast<std::size_t>(larger)};
}

std::uint64_t index_sum_of_largest(std::span<const float> row, std::size_t count,
                                   DriftScratch& scratch) {
  Cut cut = find_cut(row, count, scratch);
  std::uint64_t sum = 0;
  for (std::size_t j = 0; j < row.size(); ++j) {
    const std::uint32_t bits = bits_of(row[j]);
    if (bits > cut.bits) {
      sum += j;
    } else if (bits == cut.bits && cut.equal > 0) {
      sum += j;
      --cut.equal;
    }
  }
  return sum;
}

}  // namespace

double attention_drift(View2<const float> attention, std::size_t count, DriftScratch& scratch) {
  if (count >= attention.cols) return 0.0;  // every row chooses everything
  const std::size_t half = attention.rows / 2;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  for (std::size_t i = 0; i < half; ++i) {
    first += index_sum_of_largest(attention.row(i), count, scratch);
    second += index_sum_of_largest(attention.row(attention.rows - half + i), count, scratch);
  }
  // Sums of indices are exact, so equal sets give exactly 0.
  const auto difference = static_cast<double>(static_cast<std::int64_t>(first - second));
  return difference / (static_cast<double>(count) * static_cast<double>(half));
}

}  // namespace restkv
