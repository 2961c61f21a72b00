// Attention of a block of queries over contiguous keys: what prefill_block-inl.h makes of the
// logits, times the values, as a second register tile product. Relative L2 error about 1e-6 (of the
// form by vectors; prefill_tiles-inl.h says its own). Compiled once per target.

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
// The tile's products are added up before they meet the outputs: beside a row of weight 1 a row of
// less than 2^-24 would change nothing, and of a long prompt's many such rows nothing would be
// left.
template <class Tile, std::size_t kRows, std::size_t kVectors>
HWY_INLINE void add_values(const PrefillBlock& block, std::size_t row, std::size_t column,
                           const LogitTile& weights, const float* rescale) {
  const F32 d;
  float* const to = block.outputs + row * block.dim + column;
  auto sums = zero_sums<kRows, kVectors>();
  multiply(RowMajor{weights[0], kKeyTile}, Tile::values(block, column), kKeyTile, sums);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      float* const output = to + r * block.dim + v * kLanes;
      hn::Store(hn::MulAdd(hn::Load(d, output), all(rescale[r]), sums.at[r][v]), d, output);
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
  add_to_softmax<kRows>(block, row, weights, rescale);
  if (keeps) std::copy_n(block.max + row, kRows, kept.max + row);
  std::size_t column = 0;
  for (; column + kPanel <= block.dim; column += kPanel) {
    add_values<Tile, kRows, 2>(block, row, column, weights, rescale);
  }
  for (; column < block.dim; column += kLanes)
    add_values<Tile, kRows, 1>(block, row, column, weights, rescale);
}

// The form of attention that every table has: prefill_tiles-inl.h has another.
struct ByVectors {
  static PrefillBlock lay_out(const PrefillAttentionArgs& args) {
    return HWY_NAMESPACE::lay_out(args);
  }
  static void start(const PrefillBlock& block) { start_block(block); }
  static void finish() {}
  // body(tile), by the type of tile that holds these keys and values.
  template <class Body>
  static void with_tile(const PrefillAttentionArgs& args, const Body& body) {
    HalfTile::fits(args) ? body(HalfTile()) : body(FloatTile());
  }
  // All query rows over the packed tile that begins at row `first`.
  template <class Tile>
  static void attend_tile(const PrefillBlock& block, std::size_t first) {
    for_each_row_tile(block, first, [&](auto rows, std::size_t row, Sight sight) HWY_ATTR {
      attend<Tile, rows.value>(block, row, first, sight);
    });
  }
};

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

// over_rows(block, tile) passes over the tiles of keys and values.
template <class Form, class OverRows>
void attend_block(const PrefillAttentionArgs& args, const OverRows& over_rows) {
  const PrefillBlock block = Form::lay_out(args);
  Form::start(block);
  std::fill_n(block.outputs, block.padded_rows * block.dim, 0.0F);
  Form::with_tile(args, [&](auto tile) HWY_ATTR { over_rows(block, tile); });
  Form::finish();
  add_up_lanes(block);
  write_outputs(block);
  if (args.softmax == nullptr) return;
  std::copy_n(block.max, block.rows, args.softmax);
  std::copy_n(block.sum, block.rows, args.softmax + block.rows);
}

template <class Form, class Tile>
void attend_rows(const PrefillBlock& block) {
  const std::size_t start = block.first_row() / kKeyTile * kKeyTile;
  for (std::size_t first = start; first < block.last_row(); first += kKeyTile) {
    pack_keys<Tile>(block, first);
    pack<Tile>(block, block.args.values, first);
    Form::template attend_tile<Tile>(block, first);
  }
}

template <class Form>
void prefill_attention_in(const PrefillAttentionArgs& args) {
  attend_block<Form>(args, [](const PrefillBlock& block, auto tile)
                               HWY_ATTR { attend_rows<Form, decltype(tile)>(block); });
}

constexpr decltype(KernelTable::prefill_attention) prefill_attention =
    prefill_attention_in<ByVectors>;

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
