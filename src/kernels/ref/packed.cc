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

float f16_at(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof(bits));
  return element::f16_to_f32(bits);
}

bool has_mins(PackedKind kind) { return kind == PackedKind::kQ4_K || kind == PackedKind::kQ5_K; }

// Quant of a row and column of a block.
int quant_at(PackedKind kind, const std::byte* block, std::size_t row, std::size_t column) {
  const std::size_t i = column / 4;
  const std::size_t at = 4 * row + column % 4;
  if (kind == PackedKind::kQ8_0) return byte_at(block + 32 * i + at);
  const int low = byte_at(block + 32 * (i % 4) + at) >> (i < 4 ? 0 : 4) & 0x0F;
  const std::byte* high = block + 128 + at;
  switch (kind) {
    case PackedKind::kQ5_0:
    case PackedKind::kQ5_K: return low | (byte_at(high) >> i & 1) << 4;
    case PackedKind::kQ6_K: return low | (byte_at(high + 32 * (i / 4)) >> 2 * (i % 4) & 3) << 4;
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

// Sum of quant * activation over columns [begin, end) of a block; `part` takes bits of the quant.
template <typename Part>
int sum_of(PackedKind kind, const std::byte* block, std::size_t row, const std::int8_t* x,
           std::size_t begin, std::size_t end, const Part& part) {
  int sum = 0;
  for (std::size_t c = begin; c < end; ++c) sum += part(quant_at(kind, block, row, c)) * x[c];
  return sum;
}

float add_block(const PackedProductArgs& args, const BlockPlace& place, std::size_t row,
                const std::int8_t* x, const ActivationBlock& activation, float sum) {
  const auto whole = [](int q) { return q; };
  const auto scaled = [&](int n) { return static_cast<float>(n) * activation.scale; };
  const PackedKind kind = args.kind;
  if (kind == PackedKind::kQ6_K) {
    int total = 0;
    for (std::size_t h = 0; h < 2; ++h) {
      const auto scale = static_cast<std::int8_t>(place.scales[h * kPanelRows + row]);
      total += scale * sum_of(kind, place.quants, row, x, 16 * h, 16 * h + 16, whole);
      total -= 32 * scale * activation.half_sums[h];
    }
    return std::fma(scaled(total), f16_at(place.outer + 2 * row), sum);
  }
  if (kind == PackedKind::kQ8_0) {
    const float d = f16_at(place.scales + 2 * row);
    const auto low = [](int q) { return q & 15; };
    const auto high = [](int q) { return q >> 4; };
    sum = std::fma(scaled(sum_of(kind, place.quants, row, x, 0, kPackedBlock, low)), d, sum);
    sum = std::fma(activation.scaled_sum, d * -128.0F, sum);
    sum =
        std::fma(scaled(sum_of(kind, place.quants, row, x, 0, kPackedBlock, high)), d * 16.0F, sum);
    return std::fma(activation.scaled_sum, 0.0F, sum);
  }
  float scale = 0;
  float offset = 0;
  if (has_mins(kind)) {
    scale = f16_at(place.outer + 2 * row) * static_cast<float>(byte_at(place.scales + row));
    offset = -(f16_at(place.outer + 2 * (kPanelRows + row)) *
               static_cast<float>(byte_at(place.scales + kPanelRows + row)));
  } else {
    scale = f16_at(place.scales + 2 * row);
    offset = scale * (kind == PackedKind::kQ4_0 ? -8.0F : -16.0F);
  }
  sum = std::fma(scaled(sum_of(kind, place.quants, row, x, 0, kPackedBlock, whole)), scale, sum);
  return std::fma(activation.scaled_sum, offset, sum);
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
          sum = add_block(args, place_of(args, j / kPanelRows, b), j % kPanelRows,
                          tile.quants + at * kPackedBlock, tile.blocks[at], sum);
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
    std::fill_n(quants, kPackedBlock, std::int8_t{0});
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
      quants[i] = static_cast<std::int8_t>(std::nearbyint(x[i] * inverse));
      block.half_sums[i / 16] = static_cast<std::int16_t>(block.half_sums[i / 16] + quants[i]);
    }
    block.scaled_sum = block.scale * static_cast<float>(block.half_sums[0] + block.half_sums[1]);
  }
}

}  // namespace restkv::ref
