#pragma once

// Filters that let a token's score spread to its neighbours.

#include <cstddef>
#include <cstdint>
#include <span>

namespace restkv {

// out[j] is taken from in[j + shift - width / 2 + i] for i = 0 .. width - 1.
struct SmoothingFilter {
  enum class Kind : std::uint8_t {
    kMeanRepeatingEdges,  // outside the array its first or last value stands again
    kMeanZeroEdges,       // outside the array there are zeros
    kMax,                 // outside the array there is nothing. REQUIRES: shift == 0
  };
  Kind kind = Kind::kMeanRepeatingEdges;
  std::size_t width = 1;
  std::ptrdiff_t shift = 0;
};

// Doubles of scratch that smooth() needs for n values.
[[nodiscard]] constexpr std::size_t smoothing_scratch(std::size_t n, std::size_t width) {
  return 2 * (n + width);
}

// O(n + width). A mean's sum is in f64 and always divided by the width.
// REQUIRES: out.size() == in.size() >= 1; width >= 1; no aliasing.
void smooth(std::span<const float> in, const SmoothingFilter& filter, std::span<double> scratch,
            std::span<float> out);

}  // namespace restkv
