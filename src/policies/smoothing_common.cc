#include "policies/smoothing_common.h"

#include <algorithm>

namespace restkv {
namespace {

// van Herk's and Gil and Werman's method: cut the padded input into blocks of `width`, and combine
// from each block's left end on (prefix) and back from its right end (suffix). A window is the
// suffix of one block and the prefix of the next. Unlike a running sum nothing is subtracted, so a
// large score leaves no rounding error behind it.
template <typename At, typename Combine, typename Emit>
void slide(std::size_t n, std::size_t width, std::span<double> scratch, const At& at,
           const Combine& combine, const Emit& emit) {
  const std::size_t padded = n + width - 1;
  const std::span<double> prefix = scratch.first(padded);
  const std::span<double> suffix = scratch.subspan(padded, padded);
  for (std::size_t m = 0; m < padded; ++m) {
    prefix[m] = m % width == 0 ? at(m) : combine(prefix[m - 1], at(m));
  }
  for (std::size_t m = padded; m-- > 0;) {
    const bool block_end = m % width == width - 1 || m == padded - 1;
    suffix[m] = block_end ? at(m) : combine(at(m), suffix[m + 1]);
  }
  for (std::size_t j = 0; j < n; ++j) {
    const double last = prefix[j + width - 1];
    emit(j, j % width == 0 ? last : combine(suffix[j], last));
  }
}

}  // namespace

void smooth(std::span<const float> in, const SmoothingFilter& filter, std::span<double> scratch,
            std::span<float> out) {
  using Kind = SmoothingFilter::Kind;
  const auto last = static_cast<std::ptrdiff_t>(in.size()) - 1;
  const std::ptrdiff_t offset = filter.shift - static_cast<std::ptrdiff_t>(filter.width / 2);
  const auto repeated = [&](std::size_t m) -> double {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(m) + offset;
    return in[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(at, 0, last))];
  };
  const auto zero_padded = [&](std::size_t m) -> double {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(m) + offset;
    return at < 0 || at > last ? 0.0 : in[static_cast<std::size_t>(at)];
  };
  const auto add = [](double a, double b) { return a + b; };
  const auto larger = [](double a, double b) { return std::max(a, b); };
  const auto width = static_cast<double>(filter.width);
  const auto mean = [&](std::size_t j, double sum) { out[j] = static_cast<float>(sum / width); };
  const auto same = [&](std::size_t j, double value) { out[j] = static_cast<float>(value); };
  switch (filter.kind) {
    case Kind::kMeanRepeatingEdges:
      slide(in.size(), filter.width, scratch, repeated, add, mean);
      return;
    case Kind::kMeanZeroEdges:
      slide(in.size(), filter.width, scratch, zero_padded, add, mean);
      return;
    case Kind::kMax:
      // An edge that stands again changes no maximum: the window reached it already.
      slide(in.size(), filter.width, scratch, repeated, larger, same);
      return;
  }
}

}  // namespace restkv
