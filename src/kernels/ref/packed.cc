// Products with packed weights, one weight at a time: what the other tables must equal bit for bit.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/element_types.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/ref/operations.h"

namespace restkv::ref {
namespace {

int byte_at(const std::byte* p) { return std::to_integer<int>(*p); }

// Quant of a row and column of a block.
int quant_at(PackedKind kind, const std::byte* block, std::size_t row, std::size_t column) {
  const std::size_t i = column / 4;
  const std::size_t at = 4 * row + column % 4;
  if (kind == PackedKind::kQ8_0) return byte_at(block + 32 * i + at);
  const int low = byte_at(block + 32 * (i % 4) + at) >> (i < 4 ? 0 : 4) & 0x0F;
  const std::byte* high = block + 128 + at;
  switch (kind) {
    case PackedKind::kQ5_0:
    case PackedKind::kQ5K: return low | (byte_at(high) >> i & 1) << 4;
    case PackedKind::kQ6K: return low | (byte_at(high + 32 * (i / 4)) >> 2 * (i % 4) & 3) << 4;
    default: return low;
  }
}

// Where a block and its superblock's outer part are.
struct BlockPlace {
  const std::byte* outer;
  const std::byte* quants;
  const std::byte* scales;
};

BlockPlace place_of(const PackedProductArgs& args, std::size_t panel, std::size_t b) {
  const PackedLayout layout = packed_layout(args.kind);
  const std::byte* p = args.weights + panel * layout.panel_bytes(args.n_in);
  if (layout.outer_bytes != 0) {
    constexpr std::size_t kBlocks = kPackedSuperBlock / kPackedBlock;
    p += b / kBlocks * (layout.outer_bytes + kBlocks * layout.block_bytes);
    const std::byte* quants = p + layout.outer_bytes + b % kBlocks * layout.block_bytes;
    return {.outer = p, .quants = quants, .scales = quants + layout.quant_bytes};
  }
  p += b * layout.block_bytes;
  return {.outer = nullptr, .quants = p, .scales = p + layout.quant_bytes};
}

int activation_at(const ActivationTile& tile, std::size_t at) {
  if (tile.form == ActivationForm::kSigned) return tile.quants[at];
  return static_cast<int>(static_cast<std::uint8_t>(tile.quants[at])) - 128;
}

float add_block(const PackedProductArgs& args, const BlockPlace& place, std::size_t row,
                const ActivationTile& tile, std::size_t at, float sum) {
  const PackedKind kind = args.kind;
  const ActivationBlock& activation = tile.blocks[at];
  int total = 0;
  for (std::size_t c = 0; c < kPackedBlock; ++c) {
    const int product = (quant_at(kind, place.quants, row, c) - zero_of(kind)) *
                        activation_at(tile, at * kPackedBlock + c);
    const bool inner = kind == PackedKind::kQ6K;
    total += inner ? product * static_cast<std::int8_t>(place.scales[c / 16 * kPanelRows + row])
                   : product;
  }
  const float scaled = static_cast<float>(total) * activation.scale;
  if (kind == PackedKind::kQ6K)
    return std::fma(scaled, element::f16_at(place.outer + 2 * row), sum);
  if (!has_mins(kind)) return std::fma(scaled, element::f16_at(place.scales + 2 * row), sum);
  const float scale =
      element::f16_at(place.outer + 2 * row) * static_cast<float>(byte_at(place.scales + row));
  const float offset = -(element::f16_at(place.outer + 2 * (kPanelRows + row)) *
                         static_cast<float>(byte_at(place.scales + kPanelRows + row)));
  return std::fma(activation.scaled_sum, offset, std::fma(scaled, scale, sum));
}

}  // namespace

void multiply_packed(const PackedProductArgs& args) {
  const std::size_t last = std::min(args.n_out, args.last_panel * kPanelRows);
  for (std::size_t j = args.first_panel * kPanelRows; j < last; ++j) {
    std::size_t first_row = 0;
    for (const ActivationTile& tile : args.tiles) {
      for (std::size_t r = 0; r < tile.rows; ++r) {
        float sum = 0;
        for (std::size_t b = 0; b < args.n_in / kPackedBlock; ++b) {
          const std::size_t at = b * tile.rows + r;
          sum = add_block(args, place_of(args, j / kPanelRows, b), j % kPanelRows, tile, at, sum);
        }
        args.y[(first_row + r) * args.y_stride + j] =
            args.bias == nullptr ? sum : sum + args.bias[j];
      }
      first_row += tile.rows;
    }
  }
}

void round_activations(const float* x, std::size_t n_in, const ActivationTile& tile,
                       std::size_t row) {
  for (std::size_t b = 0; b < n_in / kPackedBlock; ++b, x += kPackedBlock) {
    const std::size_t at = b * tile.rows + row;
    std::int8_t* quants = tile.quants + at * kPackedBlock;
    float largest = 0;
    bool finite = true;
    for (std::size_t i = 0; i < kPackedBlock; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
    const int offset = tile.form == ActivationForm::kOffset ? 128 : 0;
    std::fill_n(quants, kPackedBlock, static_cast<std::int8_t>(offset));
    ActivationBlock& block = tile.blocks[at];
    block = {};
    if (!finite) {
      block.scale = block.scaled_sum = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    if (largest < kSmallestActivation) continue;
    const float inverse = 127.0F / largest;
    block.scale = largest / 127.0F;
    for (std::size_t i = 0; i < kPackedBlock; ++i) {
      const auto quant = static_cast<int>(std::nearbyint(x[i] * inverse));
      quants[i] = static_cast<std::int8_t>(quant + offset);
      block.half_sums[i / 16] = static_cast<std::int16_t>(block.half_sums[i / 16] + quant);
    }
    block.scaled_sum = block.scale * static_cast<float>(block.half_sums[0] + block.half_sums[1]);
  }
}

}  // namespace restkv::ref
