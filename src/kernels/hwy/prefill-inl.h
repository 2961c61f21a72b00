// Attention of a block of queries over contiguous keys: what prefill_block-inl.h makes of the
// logits, times the values, as a second register tile product. Relative L2 error about 1e-6.
// Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_PREFILL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PREFILL_INL_H_
#undef RESTKV_KERNELS_HWY_PREFILL_INL_H_
#else
#define RESTKV_KERNELS_HWY_PREFILL_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "kernels/hwy/prefill_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// outputs = outputs * rescale + weights * values, for kVectors vectors of columns from `column` on.
template <class Tile, std::size_t kRows, std::size_t kVectors>
HWY_INLINE void add_values(const PrefillBlock& block, std::size_t row, std::size_t column,
                           const LogitTile& weights, const float* rescale) {
  const F32 d;
  float* const to = block.outputs + row * block.dim + column;
  Sums<kRows, kVectors> sums;
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums.at[r][v] = hn::Mul(hn::Load(d, to + r * block.dim + v * kLanes), all(rescale[r]));
    }
  }
  multiply(RowMajor{weights[0], kKeyTile}, Tile::values(block, column), kKeyTile, sums);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      hn::Store(sums.at[r][v], d, to + r * block.dim + v * kLanes);
    }
  }
}

// One tile of query rows over the packed tile of keys and values.
template <class Tile, std::size_t kRows>
void attend(const PrefillBlock& block, std::size_t row, std::size_t first, Sight sight) {
  HWY_ALIGN LogitTile own;
  HWY_ALIGN RowFloats rescale;
  const bool keeps = block.args.weights != nullptr;
  const KeptTile kept = keeps ? kept_tile(block, first) : KeptTile{};
  LogitTile& weights = keeps ? *reinterpret_cast<LogitTile*>(kept.weights + row * kKeyTile) : own;
  compute_logits<Tile, kRows>(block, row, first, sight, weights);
  add_to_softmax<kRows>(weights, block.max + row, block.sum + row, rescale);
  if (keeps) std::copy_n(block.max + row, kRows, kept.max + row);
  std::size_t column = 0;
  for (; column + kPanel <= block.dim; column += kPanel) {
    add_values<Tile, kRows, 2>(block, row, column, weights, rescale);
  }
  for (; column < block.dim; column += kLanes)
    add_values<Tile, kRows, 1>(block, row, column, weights, rescale);
}

// All query rows over the packed tile that begins at row `first`.
template <class Tile>
void attend_tile(const PrefillBlock& block, std::size_t first) {
  for_each_row_tile(block, first, [&](auto rows, std::size_t row, Sight sight) HWY_ATTR {
    attend<Tile, rows.value>(block, row, first, sight);
  });
}

void write_outputs(const PrefillBlock& block) {
  const PrefillAttentionArgs& args = block.args;
  for (std::size_t row = 0; row < block.rows; ++row) {
    const float* const from = block.outputs + row * block.dim;
    float* const to =
        args.out + row / args.group * args.token_stride + row % args.group * args.head_dim;
    const float factor = 1.0F / block.sum[row];
    for (std::size_t d = 0; d < args.head_dim; ++d) to[d] = from[d] * factor;
  }
}

template <class Tile>
void attend_rows(const PrefillBlock& block) {
  const std::size_t start = block.first_row() / kKeyTile * kKeyTile;
  for (std::size_t first = start; first < block.last_row(); first += kKeyTile) {
    pack_keys<Tile>(block, first);
    pack<Tile>(block, block.args.values, first);
    attend_tile<Tile>(block, first);
  }
}

void prefill_attention(const PrefillAttentionArgs& args) {
  const PrefillBlock block = lay_out(args);
  start_block(block);
  std::fill_n(block.outputs, block.padded_rows * block.dim, 0.0F);
  if (HalfTile::fits(args)) {
    attend_rows<HalfTile>(block);
  } else {
    attend_rows<FloatTile>(block);
  }
  write_outputs(block);
  if (args.softmax == nullptr) return;
  std::copy_n(block.max, block.rows, args.softmax);
  std::copy_n(block.sum, block.rows, args.softmax + block.rows);
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
