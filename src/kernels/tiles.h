#pragma once

// Sizes of the tiles in which the vectorised attention works; the scratch that callers provide
// follows from them.

#include <cstddef>

namespace restkv {

// Keys (and values) that are expanded to f32 and multiplied at a time. With head_dim 64 a tile of
// keys is 16 KiB, so a tile of each stays near the core while all queries of a block pass over it.
inline constexpr std::size_t kKeyTile = 64;
// Rows of the scratch are padded to whole cache lines, i.e. to the widest vector.
inline constexpr std::size_t kLineFloats = 16;
// Products that one instruction of the tile unit adds up, of bf16: there head_dim is padded to
// these.
inline constexpr std::size_t kUnitDepth = 32;
// Queries are padded to whole tiles of the matrix product: 6 or 12 rows, depending on the
// registers, or the 16 of the tile unit.
inline constexpr std::size_t kQueryPadding = 48;

[[nodiscard]] constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace restkv
