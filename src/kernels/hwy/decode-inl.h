// Attention of one token's query heads over pages of the cache. Compiled once per target.
//
// Why this method: decode reads every key and value once, so reading and expanding a row must serve
// the whole group (of a very large one, kHeadsAtOnce). Up to 32 rows, across page borders, are
// multiplied as in prefill: one stage knows the keys' type, one the values', so that every pair of
// types needs no code of its own. The order of sums depends on the rows of the segment only.

#if defined(RESTKV_KERNELS_HWY_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_DECODE_INL_H_
#undef RESTKV_KERNELS_HWY_DECODE_INL_H_
#else
#define RESTKV_KERNELS_HWY_DECODE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/hwy/decode_keys-inl.h"
#include "kernels/hwy/decode_rows-inl.h"
#include "kernels/hwy/decode_tiles-inl.h"
#include "kernels/hwy/decode_values-inl.h"
#include "kernels/hwy/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

void attend_segment(const DecodeAttentionArgs& args, const KeyStages& keys,
                    const ValueStages& values, DecodePass& pass) {
  DecodeTile tile;
  TileWeights weights;
  tile.dim = round_up(args.head_dim, kLineFloats);
  RowWalk walk(args);
  TileRows rows[3];  // of this tile, and of two that are on their way, in turn
  for (std::size_t first = 0; first < 2; ++first) {
    walk.next(rows[first]);
    pass.prefetch.start(rows[first]);
    pass.prefetch.finish();
  }
  for (std::size_t turn = 0; rows[turn].count > 0; turn = (turn + 1) % 3) {
    TileRows& ahead = rows[(turn + 2) % 3];
    walk.next(ahead);
    pass.prefetch.start(ahead);
    tile.rows = rows[turn].count;
    tile.masks = args.pages.front().masks != nullptr ? rows[turn].masks : nullptr;
    keys.make_ready(args, rows[turn], tile, pass);
    values.make_ready(args, rows[turn], tile, pass);
    for_each_part(pass.heads, kMostHeads, [&](std::size_t first, std::size_t heads) HWY_ATTR {
      const std::size_t head = pass.first_head + first;
      keys.weigh[heads - 1](args, tile, head, pass, weights);
      values.accumulate[heads - 1](args, tile, head, weights, pass.prefetch);
    });
    pass.prefetch.finish();
    tile.first += tile.rows;
  }
  float* const sum = args.partial + args.group + pass.first_head;
  for (std::size_t h = 0; h < pass.heads; ++h) {
    sum[h] = sum_of(hn::Load(F32(), pass.lane_sums[h]));
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  std::fill_n(args.partial, args.group, -std::numeric_limits<float>::infinity());
  std::fill_n(args.partial + 2 * args.group, args.group * args.head_dim, 0.0F);
  const KeyStages keys = key_stages(args);
  const ValueStages values = value_stages(args);
  for_each_part(args.group, kHeadsAtOnce, [&](std::size_t first, std::size_t heads) HWY_ATTR {
    DecodePass pass{.first_head = first, .heads = heads};
    attend_segment(args, keys, values, pass);
  });
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
