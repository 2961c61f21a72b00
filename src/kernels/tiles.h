#pragma once

// Sizes of the tiles in which the vectorised prefill attention works; the scratch that callers
// provide follows from them. Measured in docs/kernels.md.

#include <cstddef>

namespace restkv {

// Keys (and values) that are expanded to f32 and multiplied at a time. With head_dim 128 a tile of
// keys is 32 KiB, so it and a tile of weights stay in the second-level cache.
inline constexpr std::size_t kKeyTile = 64;
// Floats to which parts of the scratch are padded: one cache line.
inline constexpr std::size_t kScratchLine = 16;

[[nodiscard]] constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace restkv
