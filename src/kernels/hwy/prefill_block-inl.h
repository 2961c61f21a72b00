// A block of queries, tile after tile of keys: logits and the running softmax. Under attention of
// prefill and the sums of its columns. Compiled once per target.
//
// Why this method: all queries of a block and of a group share a KV head, so tokens x group rows
// make one tall matrix. Each tile of 64 keys and values is prepared once; then 6 (or 12) query rows
// at a time (prefill_tiles-inl.h: 32) pass over it: logits = Q K^T as one register tile product,
// and the online softmax (a running maximum and sum per row). Weights live only in the first-level
// cache, unless they are to be kept. Which rows a query may see is looked at only in tiles that
// cross a boundary. Tiles begin at multiples of 64 rows, and a hidden key changes no bit of a row's
// sums, so a query's result does not depend on the other queries of its block. Precision: f32
// throughout, but for prefill_tiles-inl.h, which says its own.

#if defined(RESTKV_KERNELS_HWY_PREFILL_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PREFILL_BLOCK_INL_H_
#undef RESTKV_KERNELS_HWY_PREFILL_BLOCK_INL_H_
#else
#define RESTKV_KERNELS_HWY_PREFILL_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "kernels/hwy/tiles-inl.h"
#include "kernels/hwy/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// The block's matrices inside the caller's scratch. Row r of the tall matrix is query head r %
// group of token r / group; rows from `rows` to `padded_rows` are zero queries, and nobody reads
// their results.
struct PrefillBlock {
  const PrefillAttentionArgs& args;
  std::size_t rows;
  std::size_t padded_rows;
  std::size_t dim;  // head_dim, padded
  // A tile of keys, transposed, and one of values; of what elements, the form says (FloatTile,
  // HalfTile; prefill_tiles-inl.h has its own of these and of the queries). While keys are being
  // packed, the same keys before stand where values will stand.
  float* keys;     // [kKeyTile / kPanel][dim][kPanel]
  float* values;   // [kKeyTile][dim]
  float* queries;  // [padded_rows / kTileRows][dim][kTileRows], times product_scale()
  float* outputs;  // [padded_rows][dim]
  float* lanes;    // [padded_rows][kLanes]: sums of weights, lane by lane, until add_up_lanes()
  float* max;      // [padded_rows]
  float* sum;      // [padded_rows]

  HWY_INLINE std::size_t first_row() const { return args.row_begin[0]; }
  HWY_INLINE std::size_t last_row() const { return args.row_end[args.n_query - 1]; }
};

// What rows and head_dim are padded to, and how much room a number of a key and of a query takes,
// in halves of an f32.
struct BlockPadding {
  std::size_t rows = kTileRows;
  std::size_t dim = kLineFloats;
  std::size_t key_halves = 2;
  std::size_t query_halves = 2;
};

PrefillBlock lay_out(const PrefillAttentionArgs& args, const BlockPadding& padding = {}) {
  const std::size_t rows = args.n_query * args.group;
  const std::size_t padded_rows = round_up(rows, padding.rows);
  const std::size_t dim = round_up(args.head_dim, padding.dim);
  float* const keys = args.scratch;
  float* const values = keys + kKeyTile * dim * padding.key_halves / 2;
  float* const queries = values + kKeyTile * dim;
  float* const outputs = queries + padded_rows * dim * padding.query_halves / 2;
  float* const lanes = outputs + padded_rows * dim;
  float* const max = lanes + padded_rows * kLanes;
  return {.args = args,
          .rows = rows,
          .padded_rows = padded_rows,
          .dim = dim,
          .keys = keys,
          .values = values,
          .queries = queries,
          .outputs = outputs,
          .lanes = lanes,
          .max = max,
          .sum = max + padded_rows};
}

void start_softmax(const PrefillBlock& block) {
  std::fill_n(block.max, block.padded_rows, kLowestLogit);
  std::fill_n(block.lanes, block.padded_rows * kLanes, 0.0F);
}

// After the last tile.
void add_up_lanes(const PrefillBlock& block) {
  for (std::size_t row = 0; row < block.padded_rows; ++row) {
    block.sum[row] = sum_of(hn::Load(F32(), block.lanes + row * kLanes));
  }
}

// Queries side by side as the tile product reads them, and an empty softmax for each.
void start_block(const PrefillBlock& block) {
  const PrefillAttentionArgs& args = block.args;
  const float scale = product_scale(args.rule);
  std::fill_n(block.queries, block.padded_rows * block.dim, 0.0F);
  for (std::size_t row = 0; row < block.rows; ++row) {
    const float* const from =
        args.q + row / args.group * args.token_stride + row % args.group * args.head_dim;
    float* const to = block.queries + row / kTileRows * kTileRows * block.dim + row % kTileRows;
    for (std::size_t d = 0; d < args.head_dim; ++d) to[d * kTileRows] = from[d] * scale;
  }
  start_softmax(block);
}

// A tile in f32.
struct FloatTile {
  // Rows [first, first + count) to the tile's rows from `to` on. Those outside [begin, end) are not
  // read and become zero.
  static void place(const PrefillBlock& block, TypedRows rows, std::size_t first, std::size_t count,
                    std::size_t begin, std::size_t end, std::size_t to) {
    expand_rows(rows, first, count, begin, end, block.args.head_dim, block.dim,
                block.values + to * block.dim);
  }
  static void clear(const PrefillBlock& block, std::size_t from) {
    std::fill(block.values + from * block.dim, block.values + kKeyTile * block.dim, 0.0F);
  }
  // Puts the keys that stand where values will stand into the order of the tile product.
  static void transpose_keys(const PrefillBlock& block) {
    for (std::size_t key = 0; key < kKeyTile; key += kPanel) {
      transpose(block.values + key * block.dim, block.dim, kPanel, block.keys + key * block.dim);
    }
  }
  static HWY_INLINE FloatColumns keys(const PrefillBlock& block, std::size_t key) {
    return {block.keys + key * block.dim, kPanel};
  }
  static HWY_INLINE FloatColumns values(const PrefillBlock& block, std::size_t column) {
    return {block.values + column, block.dim};
  }
};

// A tile in f16, widened within the products, which have the same bits: keys and values of 64
// channels then leave half of a first-level cache to queries and outputs. Not with AVX-512: there
// widening takes units that multiply, more than larger tiles cost (docs/kernels.md).
struct HalfTile {
  static bool fits(const PrefillAttentionArgs& args) {
    return kConvertsF16 && !kManyRegisters && args.keys.type == KvType::kF16 &&
           (args.values.data == nullptr || args.values.type == KvType::kF16) &&
           args.head_dim % kLineFloats == 0;
  }
  static std::uint16_t* keys_of(const PrefillBlock& block) {
    return reinterpret_cast<std::uint16_t*>(block.keys);
  }
  static std::uint16_t* values_of(const PrefillBlock& block) {
    return reinterpret_cast<std::uint16_t*>(block.values);
  }
  static void place(const PrefillBlock& block, TypedRows rows, std::size_t first, std::size_t count,
                    std::size_t begin, std::size_t end, std::size_t to) {
    const std::size_t last = std::clamp(end, first, first + count);
    const std::size_t start = std::clamp(begin, first, last);
    std::uint16_t* const tile = values_of(block) + to * block.dim;
    std::fill(tile, tile + (start - first) * block.dim, 0);
    std::copy_n(reinterpret_cast<const std::uint16_t*>(rows.data) + start * block.dim,
                (last - start) * block.dim, tile + (start - first) * block.dim);
    std::fill(tile + (last - first) * block.dim, tile + count * block.dim, 0);
  }
  static void clear(const PrefillBlock& block, std::size_t from) {
    std::fill(values_of(block) + from * block.dim, values_of(block) + kKeyTile * block.dim, 0);
  }
  static void transpose_keys(const PrefillBlock& block) {
    const hn::Repartition<std::uint16_t, F32> d16;
    for (std::size_t key = 0; key < kKeyTile; key += kPanel) {
      const std::byte* rows[kPanel];
      for (std::size_t i = 0; i < kPanel; ++i) {
        rows[i] = reinterpret_cast<const std::byte*>(values_of(block) + (key + i) * block.dim);
      }
      std::uint16_t* const to = keys_of(block) + key * block.dim;
      transpose_halves(rows, block.dim, [d16, to](std::size_t column, auto halves) HWY_ATTR {
        hn::StoreU(halves, d16, to + column * kPanel);
      });
    }
  }
  static HWY_INLINE HalfColumns keys(const PrefillBlock& block, std::size_t key) {
    return {keys_of(block) + key * block.dim, kPanel};
  }
  static HWY_INLINE HalfColumns values(const PrefillBlock& block, std::size_t column) {
    return {values_of(block) + column, block.dim};
  }
};

template <class Tile>
void pack(const PrefillBlock& block, TypedRows rows, std::size_t first) {
  Tile::place(block, rows, first, kKeyTile, block.first_row(), block.last_row(), 0);
}

template <class Tile>
void pack_keys(const PrefillBlock& block, std::size_t first) {
  pack<Tile>(block, block.args.keys, first);
  Tile::transpose_keys(block);
}

// How much of the tile that begins at row `first` the query rows [row, row + count) see.
enum class Sight { kNothing, kPart, kAll };
HWY_INLINE Sight sight_of(const PrefillBlock& block, std::size_t row, std::size_t count,
                          std::size_t first) {
  const PrefillAttentionArgs& args = block.args;
  const std::size_t oldest = row / args.group;
  const std::size_t newest = std::min(row + count, block.rows) / args.group;
  const std::size_t last = std::min(newest, args.n_query - 1);
  if (first >= args.row_end[last] || first + kKeyTile <= args.row_begin[oldest]) {
    return Sight::kNothing;
  }
  const bool whole = first >= args.row_begin[last] && first + kKeyTile <= args.row_end[oldest];
  return whole ? Sight::kAll : Sight::kPart;
}

// Calls body(rows, row, sight) for each tile of query rows, [row, row + rows), that sees some of
// the key tile that begins at row `first`. `rows` is a std::integral_constant: a block of 64 tokens
// ends with 4 or 8 rows beyond whole tiles, and for one query head to a KV head a tile that is
// mostly padding would be a tenth of the work.
template <class Body>
HWY_INLINE void for_each_row_tile(const PrefillBlock& block, std::size_t first, const Body& body) {
  for (std::size_t row = 0; row < block.padded_rows; row += kTileRows) {
    const Sight sight = sight_of(block, row, kTileRows, first);
    if (sight == Sight::kNothing) continue;
    const std::size_t left = block.rows - row;
    if (left <= 4) {
      body(std::integral_constant<std::size_t, 4>(), row, sight);
    } else if (left <= 8) {
      body(std::integral_constant<std::size_t, std::min<std::size_t>(8, kTileRows)>(), row, sight);
    } else {
      body(std::integral_constant<std::size_t, kTileRows>(), row, sight);
    }
  }
}

// Of one query row, and of as many as pass over the keys together.
using LogitRow = float[kKeyTile];
using LogitTile = LogitRow[kTileRows];

// What attention keeps of a tile of keys for the sums of its columns.
struct KeptTile {
  float* weights;  // [rows, padded by kQueryPadding][kKeyTile], relative to
  float* max;      // [rows, padded alike]: the largest logit of each row so far
};
KeptTile kept_tile(const PrefillBlock& block, std::size_t first) {
  const std::size_t tile = first / kKeyTile - block.first_row() / kKeyTile;
  const std::size_t rows = round_up(block.rows, kQueryPadding);
  float* const weights = block.args.weights + tile * rows * (kKeyTile + 1);
  return {weights, weights + rows * kKeyTile};
}

// Hides what the query rows [row, row + count) do not see.
void hide(const PrefillBlock& block, std::size_t row, std::size_t count, std::size_t first,
          LogitRow* logits) {
  const PrefillAttentionArgs& args = block.args;
  for (std::size_t r = 0; r < count && row + r < block.rows; ++r) {
    const std::size_t token = (row + r) / args.group;
    const auto within = [&](std::size_t bound) {
      return std::clamp(bound, first, first + kKeyTile) - first;
    };
    const std::size_t begin = within(args.row_begin[token]);
    const std::size_t end = within(args.row_end[token]);
    std::fill(logits[r], logits[r] + begin, kHidden);
    std::fill(logits[r] + std::max(begin, end), logits[r] + kKeyTile, kHidden);
  }
}

// Brings part `part` of kTilePanels of the next query rows and their outputs near. Those of all
// rows do not fit into the first-level cache, for large groups hardly into the second.
constexpr std::size_t kTilePanels = kKeyTile / kPanel;
HWY_INLINE void prefetch_rows(const PrefillBlock& block, std::size_t row, std::size_t part) {
  if (row >= block.padded_rows) return;
  const std::size_t lines = kTileRows * block.dim / kLineFloats;
  const std::size_t offset = row * block.dim;
  for (std::size_t i = part * lines / kTilePanels; i < (part + 1) * lines / kTilePanels; ++i) {
    __builtin_prefetch(block.queries + offset + i * kLineFloats);
    __builtin_prefetch(block.outputs + offset + i * kLineFloats, 1);
  }
}

// Makes logits of the products of the query rows [row, row + kRows) and the keys that begin at row
// `first`.
template <std::size_t kRows>
HWY_INLINE void cap_and_hide(const PrefillBlock& block, std::size_t row, std::size_t first,
                             Sight sight, LogitRow* logits) {
  const F32 d;
  const float cap = block.args.rule.softcap;
  if (cap > 0.0F) {
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t key = 0; key < kKeyTile; key += kLanes) {
        hn::Store(softcap(hn::Load(d, logits[r] + key), cap), d, logits[r] + key);
      }
    }
  }
  if (sight == Sight::kPart) hide(block, row, kRows, first, logits);
}

// Logits of the query rows [row, row + kRows) for the packed keys, which begin at row `first`.
template <class Tile, std::size_t kRows>
HWY_INLINE void compute_logits(const PrefillBlock& block, std::size_t row, std::size_t first,
                               Sight sight, LogitTile& logits) {
  const F32 d;
  const Interleaved queries = {block.queries + row * block.dim};
  for (std::size_t key = 0; key < kKeyTile; key += kPanel) {
    auto sums = zero_sums<kRows, 2>();
    multiply(queries, Tile::keys(block, key), block.dim, sums);
    prefetch_rows(block, row + kTileRows, key / kPanel);
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t v = 0; v < 2; ++v) {
        hn::Store(sums.at[r][v], d, logits[r] + key + v * kLanes);
      }
    }
  }
  cap_and_hide<kRows>(block, row, first, sight, logits);
}

// The largest of `start` and a row's logits. Mostly `start` stands, and nothing has to wait for the
// largest of the lanes.
HWY_INLINE float largest_of(const float* logits, float start) {
  const F32 d;
  Vf largest = all(start);
  for (std::size_t key = 0; key < kKeyTile; key += kLanes) {
    largest = hn::Max(largest, hn::Load(d, logits + key));
  }
  if (HWY_LIKELY(hn::AllTrue(d, hn::Eq(largest, all(start))))) return start;
  return max_of(largest);
}

// As many vectors of logits as registers hold while exp() goes through its steps.
constexpr std::size_t kExpsAtOnce = kManyRegisters ? 4 : 2;

// Turns a row of logits into weights relative to `max` and gives their sums, lane by lane.
HWY_INLINE Vf weigh(float* logits, float max) {
  const F32 d;
  Vf added[2] = {hn::Zero(d), hn::Zero(d)};
  for (std::size_t key = 0; key < kKeyTile; key += kExpsAtOnce * kLanes) {
    Vf weights[kExpsAtOnce];
    for (std::size_t v = 0; v < kExpsAtOnce; ++v) {
      weights[v] = hn::Sub(hn::Load(d, logits + key + v * kLanes), all(max));
    }
    exp_each_at_most_88<kExpsAtOnce>(weights);
    for (std::size_t v = 0; v < kExpsAtOnce; ++v) {
      hn::Store(weights[v], d, logits + key + v * kLanes);
      added[v % 2] = hn::Add(added[v % 2], weights[v]);
    }
  }
  return hn::Add(added[0], added[1]);
}

// One float for each row of a tile, in whole vectors.
using RowFloats = float[round_up(kTileRows, kLanes)];

// Turns the logits of query rows into weights relative to each row's new maximum. rescale: what
// everything that a row summed before must be multiplied by. Step by step for all rows, because the
// steps of a single row wait for each other.
template <std::size_t kRows>
HWY_INLINE void add_to_softmax(const PrefillBlock& block, std::size_t row, LogitRow* logits,
                               RowFloats& rescale) {
  static_assert(kRows <= std::extent_v<RowFloats>);
  const F32 d;
  float* const max = block.max + row;
  float* const lanes = block.lanes + row * kLanes;
  HWY_ALIGN RowFloats new_max = {};
  HWY_ALIGN RowFloats difference = {};
  for (std::size_t r = 0; r < kRows; ++r) {
    new_max[r] = largest_of(logits[r], max[r]);
    difference[r] = max[r] - new_max[r];
    max[r] = new_max[r];
  }
  for (std::size_t r = 0; r < kRows; r += kLanes) {
    hn::Store(exp_at_most_88(hn::Load(d, difference + r)), d, rescale + r);
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    const Vf added = weigh(logits[r], new_max[r]);
    float* const sums = lanes + r * kLanes;
    hn::Store(hn::MulAdd(hn::Load(d, sums), all(rescale[r]), added), d, sums);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
