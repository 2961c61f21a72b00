// What the queries of a block give to each row: of the weights that attention kept, or by a second
// product of queries and keys. Compiled once per target.

#if defined(RESTKV_KERNELS_HWY_COLUMN_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_COLUMN_SUMS_INL_H_
#undef RESTKV_KERNELS_HWY_COLUMN_SUMS_INL_H_
#else
#define RESTKV_KERNELS_HWY_COLUMN_SUMS_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "kernels/hwy/prefill_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// First pass of column_sums: the running softmax of one tile of query rows.
template <class Tile, std::size_t kRows>
void observe(const PrefillBlock& block, std::size_t row, std::size_t first, Sight sight) {
  HWY_ALIGN LogitTile logits;
  compute_logits<Tile, kRows>(block, row, first, sight, logits);
  HWY_ALIGN RowFloats rescale;
  add_to_softmax<kRows>(block, row, logits, rescale);
}

// Second pass: adds the probabilities, in the order of the query rows, to columns[kKeyTile]. share:
// what each query row's weights are multiplied by, 0 for padding.
template <class Tile, std::size_t kRows>
void add_columns(const PrefillBlock& block, std::size_t row, std::size_t first, Sight sight,
                 const float* share, float* columns) {
  const F32 d;
  HWY_ALIGN LogitTile logits;
  compute_logits<Tile, kRows>(block, row, first, sight, logits);
  for (std::size_t r = 0; r < kRows; ++r) {
    weigh(logits[r], block.max[row + r]);
    for (std::size_t key = 0; key < kKeyTile; key += kLanes) {
      const Vf before = hn::Load(d, columns + key);
      const Vf weight = hn::Load(d, logits[r] + key);
      hn::Store(hn::MulAdd(weight, all(share[row + r]), before), d, columns + key);
    }
  }
}

// The weights that attention kept, of one tile of query rows: as add_columns().
template <std::size_t kRows>
void add_kept(const PrefillBlock& block, std::size_t row, std::size_t first, const float* share,
              float* columns) {
  const F32 d;
  const KeptTile kept = kept_tile(block, first);
  HWY_ALIGN RowFloats factor = {};
  for (std::size_t r = 0; r < kRows && row + r < block.rows; ++r) {
    factor[r] = kept.max[row + r] - block.max[row + r];
  }
  for (std::size_t r = 0; r < kRows; r += kLanes) {
    hn::Store(exp_at_most_88(hn::Load(d, factor + r)), d, factor + r);
  }
  constexpr std::size_t kVectors = kKeyTile / kLanes;
  Vf sums[kVectors];
  for (std::size_t v = 0; v < kVectors; ++v) sums[v] = hn::Load(d, columns + v * kLanes);
  for (std::size_t r = 0; r < kRows; ++r) {
    const Vf all_of_row = all(factor[r] * share[row + r]);
    const float* const weights = kept.weights + (row + r) * kKeyTile;
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::MulAdd(hn::Load(d, weights + v * kLanes), all_of_row, sums[v]);
    }
  }
  for (std::size_t v = 0; v < kVectors; ++v) hn::Store(sums[v], d, columns + v * kLanes);
}

// Passes over all tiles of keys: prepare(first), then each(rows, row, first, sight) for each tile
// of query rows that sees some of it, then finish(first).
template <class Prepare, class Each, class Finish>
HWY_INLINE void pass_over(const PrefillBlock& block, Prepare prepare, Each each, Finish finish) {
  const std::size_t start = block.first_row() / kKeyTile * kKeyTile;
  for (std::size_t first = start; first < block.last_row(); first += kKeyTile) {
    prepare(first);
    for_each_row_tile(block, first, [&](auto rows, std::size_t row, Sight sight) HWY_ATTR {
      each(rows, row, first, sight);
    });
    finish(first);
  }
}

template <class Tile>
void sum_columns(const PrefillBlock& block, const ColumnSumArgs& args) {
  const auto pack_tile = [&](std::size_t first) HWY_ATTR { pack_keys<Tile>(block, first); };
  const auto nothing = [](std::size_t) HWY_ATTR {};
  if (const float* const known = args.block.softmax; known != nullptr) {
    std::copy_n(known, block.rows, block.max);
    // Those of padding, whose logits are 0: exp() is asked for no number above its range.
    std::fill(block.max + block.rows, block.max + block.padded_rows, 0.0F);
    std::copy_n(known + block.rows, block.rows, block.sum);
  } else {
    pass_over(
        block, pack_tile,
        [&](auto rows, std::size_t row, std::size_t first, Sight sight)
            HWY_ATTR { observe<Tile, rows.value>(block, row, first, sight); },
        nothing);
    add_up_lanes(block);
  }
  // The sums become what a row's weights are multiplied by.
  const auto group = static_cast<float>(args.block.group);
  for (std::size_t row = 0; row < block.padded_rows; ++row) {
    block.sum[row] = row < block.rows ? 1.0F / (block.sum[row] * group) : 0.0F;
  }
  HWY_ALIGN float columns[kKeyTile] = {};
  const auto hand_over = [&](std::size_t first) HWY_ATTR {
    const std::size_t begin = std::max(first, block.first_row());
    const std::size_t end = std::min(first + kKeyTile, block.last_row());
    for (std::size_t row = begin; row < end; ++row) args.sums[row] += columns[row - first];
    std::fill_n(columns, kKeyTile, 0.0F);
  };
  if (args.block.weights != nullptr) {
    pass_over(
        block, nothing,
        [&](auto rows, std::size_t row, std::size_t first, Sight)
            HWY_ATTR { add_kept<rows.value>(block, row, first, block.sum, columns); },
        hand_over);
  } else {
    pass_over(
        block, pack_tile,
        [&](auto rows, std::size_t row, std::size_t first, Sight sight) HWY_ATTR {
          add_columns<Tile, rows.value>(block, row, first, sight, block.sum, columns);
        },
        hand_over);
  }
}

void column_sums(const ColumnSumArgs& args) {
  const PrefillBlock block = lay_out(args.block);
  if (args.block.weights == nullptr) start_block(block);
  if (HalfTile::fits(args.block)) {
    sum_columns<HalfTile>(block, args);
  } else {
    sum_columns<FloatTile>(block, args);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
