#pragma once

// Weights laid out for products with 8-bit activations, and the activations beside them.
//
// A panel holds 8 rows of a matrix. Along its columns it is cut into blocks of 32; the quants of a
// block are ordered so that a 32-byte vector holds 4 neighbouring columns of all 8 rows, which is
// what one instruction multiplies with 4 activations. Activations are rounded to 8 bits with one
// scale for each 32. Within a block all sums are integers, thus exact in any order; blocks are
// added in f32 from left to right. So every table gives the same bits, and a row of activations
// gets the same result whatever rows it is multiplied together with.

#include <cstddef>
#include <cstdint>
#include <span>

namespace restkv {

inline constexpr std::size_t kPanelRows = 8;
inline constexpr std::size_t kPackedBlock = 32;        // columns that share one f32 scale
inline constexpr std::size_t kPackedSuperBlock = 256;  // columns of the K types' outer scale

// What stands for a weight w of a row: q is the stored quant, unsigned.
enum class PackedKind : std::uint8_t {
  kQ4_0,  // d * (q - 8)
  kQ5_0,  // d * (q - 16)
  kQ8_0,  // d * (q - 128)
  kQ4K,   // d * scale * q - dmin * min, scale and min for each block of 32, 4-bit q
  kQ5K,   // the same with 5-bit q
  kQ6K,   // d * scale * (q - 32), scale for each 16
};

// Layout of a panel. K types: superblocks of an outer part (f16 d[8], then for kQ4K and kQ5K f16
// dmin[8]) and 8 blocks; the others: blocks only. A block is its quants and 16 bytes of scales:
//   kQ4_0, kQ5_0, kQ8_0   f16 d[8]
//   kQ4K, kQ5K          u8 scale[8], u8 min[8]
//   kQ6K                 s8 scale[8] of columns 0-15, s8 scale[8] of columns 16-31
// Quants, V_i[4 * row + c] = q of column 4 i + c, i < 8:
//   4 bits   P_0..P_3 of 32 bytes: P_i = V_i | V_{i+4} << 4
//   5 bits   the same of the low 4 bits, then 32 bytes whose bit i is the high bit of V_i
//   6 bits   the same of the low 4 bits, then H_0, H_1 of 32 bytes: H_k holds at bits 2 i the high
//            bits of V_{4 k + i}
//   8 bits   V_0..V_7
struct PackedLayout {
  std::size_t quant_bytes;  // of a block
  std::size_t block_bytes;  // with its scales
  std::size_t outer_bytes;  // in front of each superblock; 0: there are none
  std::size_t panel_bytes(std::size_t n_in) const {
    const std::size_t outer = outer_bytes == 0 ? 0 : n_in / kPackedSuperBlock * outer_bytes;
    return n_in / kPackedBlock * block_bytes + outer;
  }
};
[[nodiscard]] constexpr PackedLayout packed_layout(PackedKind kind) {
  const auto layout = [](std::size_t bits, std::size_t outer_bytes) {
    const std::size_t quant_bytes = kPanelRows * kPackedBlock * bits / 8;
    return PackedLayout{.quant_bytes = quant_bytes,
                        .block_bytes = quant_bytes + 2 * kPanelRows,
                        .outer_bytes = outer_bytes};
  };
  switch (kind) {
    case PackedKind::kQ4_0: return layout(4, 0);
    case PackedKind::kQ5_0: return layout(5, 0);
    case PackedKind::kQ8_0: return layout(8, 0);
    case PackedKind::kQ4K: return layout(4, 4 * kPanelRows);
    case PackedKind::kQ5K: return layout(5, 4 * kPanelRows);
    case PackedKind::kQ6K: return layout(6, 2 * kPanelRows);
  }
  return {};
}

// Kinds whose blocks have a min beside the scale.
[[nodiscard]] constexpr bool has_mins(PackedKind kind) {
  return kind == PackedKind::kQ4K || kind == PackedKind::kQ5K;
}

// What is taken from a stored quant.
[[nodiscard]] constexpr int zero_of(PackedKind kind) {
  switch (kind) {
    case PackedKind::kQ4_0: return 8;
    case PackedKind::kQ5_0: return 16;
    case PackedKind::kQ6K: return 32;
    case PackedKind::kQ8_0: return 128;
    default: return 0;  // kinds with mins
  }
}

// Rows of activations, rounded: x = scale * quant. For block b and row r, quants are at
// quants + (b * rows + r) * 32 and the rest in blocks[b * rows + r].
struct ActivationBlock {
  float scale;                // NaN where an activation was not finite
  float scaled_sum;           // scale * sum of the quants
  std::int16_t half_sums[2];  // sums of quants 0-15 and 16-31
};
enum class ActivationForm : std::uint8_t {
  kSigned,  // quants as they are: one tile of up to kFewRows
  kOffset,  // quants + 128, as unsigned bytes: any number of tiles
};
struct ActivationTile {
  std::int8_t* quants = nullptr;  // 32-byte aligned
  ActivationBlock* blocks = nullptr;
  std::size_t rows = 0;  // 1 to kMostTileRows
  ActivationForm form = ActivationForm::kSigned;
};
// Up to so many rows, weights are multiplied as they come from memory.
inline constexpr std::size_t kFewRows = 4;
// Rows of a tile, and panels that they are multiplied with in turn: their sums, 8 KiB, and the
// panels' weights of a block, 5 to 10 KiB, fill the first-level cache.
inline constexpr std::size_t kMostTileRows = 16;
inline constexpr std::size_t kPanelsTogether = 16;
// The most that a table makes of a block of 8 x 32 weights.
inline constexpr std::size_t kUnpackedBlockBytes = 704;

struct PackedProductArgs {
  PackedKind kind = PackedKind::kQ4_0;
  const std::byte* weights = nullptr;  // all panels of the matrix
  std::size_t n_in = 0;                // a multiple of 32; of 256 for the K types
  std::size_t n_out = 0;
  std::size_t first_panel = 0;  // panels [first_panel, last_panel) are multiplied
  std::size_t last_panel = 0;
  // All of one form; rows of the first tile come first. kSigned: a single tile.
  std::span<const ActivationTile> tiles;
  const float* bias = nullptr;  // [n_out] or null
  float* y = nullptr;           // row i, output j at y[i * y_stride + j]
  std::size_t y_stride = 0;
  std::byte* scratch = nullptr;  // packed_scratch_bytes(), 64-byte aligned
};
[[nodiscard]] std::size_t packed_scratch_bytes(std::size_t n_in);

// Activations below this are nothing: 127 / x must stay finite.
inline constexpr float kSmallestActivation = 1e-30F;

}  // namespace restkv
