// Attention of a block of queries over listed rows. Compiled once per target.
//
// Why this method: the listed rows are numbered one after the other, and tiles of 64 of these
// numbers are gathered and then handled as prefill-inl.h handles tiles of neighbours. A visible
// interval of rows is an interval of numbers, so nothing else changes: lists of whole tiles cost
// what dense attention costs for them, a list of single rows wastes no product, and a list of all
// rows gives the bits of prefill_attention. Precision: as prefill-inl.h.

#if defined(RESTKV_KERNELS_HWY_SPARSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_SPARSE_INL_H_
#undef RESTKV_KERNELS_HWY_SPARSE_INL_H_
#else
#define RESTKV_KERNELS_HWY_SPARSE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/hwy/prefill-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// out[i] = how many listed rows lie before bounds[i]; bounds are non-decreasing.
void number_bounds(const SparseAttentionArgs& args, const std::uint32_t* bounds,
                   std::uint32_t* out) {
  std::size_t span = 0;
  std::uint32_t before = 0;  // rows of the spans passed
  for (std::size_t i = 0; i < args.block.n_query; ++i) {
    while (span < args.listed.size() && args.listed[span].end <= bounds[i]) {
      before += args.listed[span].end - args.listed[span].begin;
      ++span;
    }
    const bool inside = span < args.listed.size() && args.listed[span].begin < bounds[i];
    out[i] = before + (inside ? bounds[i] - args.listed[span].begin : 0);
  }
}

// Where a number stands in the list.
struct ListCursor {
  std::size_t span = 0;
  std::uint32_t number = 0;  // of the span's first row
};

// Places the rows numbered [first, first + kKeyTile) where values stand. What lies outside the
// block's rows is not read and becomes zero. The cursor only moves forward.
template <class Tile>
void gather(const PrefillBlock& block, std::span<const RowSpan> listed, const ListCursor& cursor,
            TypedRows rows, std::size_t first) {
  const std::size_t end = std::min(first + kKeyTile, block.last_row());
  std::size_t at = first;
  std::size_t number = cursor.number;
  for (std::size_t s = cursor.span; s < listed.size() && at < end; ++s) {
    const std::size_t span_end = number + (listed[s].end - listed[s].begin);
    const std::size_t stop = std::min(span_end, end);
    if (at < stop) {
      const std::size_t shift = listed[s].begin - number;  // from a number to its row; may wrap
      Tile::place(block, rows, at + shift, stop - at, std::max(at, block.first_row()) + shift,
                  stop + shift, at - first);
      at = stop;
    }
    number = span_end;
  }
  Tile::clear(block, at - first);
}

template <class Form, class Tile>
void attend_listed(const PrefillBlock& block, std::span<const RowSpan> listed) {
  ListCursor cursor;
  const std::size_t start = block.first_row() / kKeyTile * kKeyTile;
  for (std::size_t first = start; first < block.last_row(); first += kKeyTile) {
    while (true) {
      const RowSpan& span = listed[cursor.span];
      if (cursor.number + (span.end - span.begin) > first) break;
      cursor.number += span.end - span.begin;
      ++cursor.span;
    }
    gather<Tile>(block, listed, cursor, block.args.keys, first);
    Tile::transpose_keys(block);
    gather<Tile>(block, listed, cursor, block.args.values, first);
    Form::template attend_tile<Tile>(block, first);
  }
}

template <class Form>
void sparse_attention_in(const SparseAttentionArgs& args) {
  std::uint32_t begin[kMaxQueryBlock];
  std::uint32_t end[kMaxQueryBlock];
  number_bounds(args, args.block.row_begin, begin);
  number_bounds(args, args.block.row_end, end);
  PrefillAttentionArgs numbered = args.block;
  numbered.row_begin = begin;
  numbered.row_end = end;
  attend_block<Form>(numbered, [&args](const PrefillBlock& block, auto tile) HWY_ATTR {
    attend_listed<Form, decltype(tile)>(block, args.listed);
  });
}

constexpr decltype(KernelTable::sparse_attention) sparse_attention = sparse_attention_in<ByVectors>;

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
