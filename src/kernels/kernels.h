#pragma once

// The loops that decide the speed, over raw views. A KernelTable is one implementation of all of
// them for one instruction set; it is chosen once, when an engine is built, and passed by
// reference, so two can run in one process. "ref" is plain loops and defines what is correct.
//
// All sums are in f32 unless said otherwise. No operation allocates, throws or reads a global.
// Outputs never alias inputs unless said so. Results do not depend on the number of threads: a
// kernel runs on the calling thread, and the caller splits work by rows, heads and fixed blocks.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/box_runs.h"
#include "kernels/packed.h"
#include "restkv/policy.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

// Largest head_dim that any operation takes.
inline constexpr std::size_t kMaxHeadDim = 512;

// Dense typed rows: row i starts at data + i * kv_row_bytes(type, head_dim).
struct TypedRows {
  const std::byte* data = nullptr;
  KvType type = KvType::kF16;
};

// A block of queries of one KV head against contiguous keys and values.
struct PrefillAttentionArgs {
  // Query of token i and query head g of the group: q + i * token_stride + g * head_dim.
  const float* q = nullptr;
  float* out = nullptr;          // same layout and strides as q
  std::size_t token_stride = 0;  // floats
  std::size_t n_query = 0;       // tokens in this block
  std::size_t group = 1;         // query heads that share the KV head
  std::size_t head_dim = 0;
  TypedRows keys;    // kF32 or kF16
  TypedRows values;  // same type
  // Token i sees rows [row_begin[i], row_end[i]); both non-decreasing, row_begin[i] < row_end[i].
  const std::uint32_t* row_begin = nullptr;
  const std::uint32_t* row_end = nullptr;
  AttentionRule rule;
  float* scratch = nullptr;  // prefill_attention_scratch() floats, 64-byte aligned
  // [2][n_query][group] or null: written is each query head's largest logit, then the sum of
  // exp(logit - largest).
  float* softmax = nullptr;
  // kept_weights_size() floats, 64-byte aligned, or null: what the logits became, for column_sums
  // of the same table. In a form of the table's own.
  float* weights = nullptr;
};

// Rows [begin, end) of a KV head.
struct RowSpan {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

// As prefill_attention, but a token sees only those of its rows that are listed. With one span that
// holds all rows the result has the same bits.
struct SparseAttentionArgs {
  PrefillAttentionArgs block;  // REQUIRES: softmax is null
  // Ascending, not empty, disjoint. Only these rows are read, and the work is in proportion to
  // their number: they are gathered into tiles, so a single row costs no more than one of many.
  // Every token sees at least one of them.
  std::span<const RowSpan> listed;
};

// Bytes that say of one row which query heads of a group see it: bit g % 8 of byte g / 8 is set for
// query head g.
[[nodiscard]] constexpr std::size_t row_mask_bytes(std::size_t group) { return (group + 7) / 8; }
[[nodiscard]] constexpr bool sees_row(const std::uint8_t* mask, std::size_t g) {
  return ((mask[g / 8] >> (g % 8)) & 1U) != 0;
}

// A page of the cache as decode reads it: up to `rows` rows of keys and of values.
struct PageView {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  std::uint32_t rows = 0;
  const std::uint8_t* masks = nullptr;  // [rows][row_mask_bytes(group)]; null: all heads see all
};

// Floats from one partial result of decode attention to the next: whole pairs of cache lines, which
// the processor may fetch together, because neighbours are written by different threads.
[[nodiscard]] constexpr std::size_t decode_partial_size(std::size_t group, std::size_t head_dim) {
  return (group * (2 + head_dim) + 31) / 32 * 32;
}

// One partial result of decode attention: softmax over a segment of the cache.
// Layout of a partial for `group` query heads: max[group], sum[group], acc[group * head_dim] with
// acc = sum of exp(logit - max) * v. merge_decode combines them. The partial of a head that sees no
// row of the segment has the sum 0, and merge_decode passes it over.
struct DecodeAttentionArgs {
  const float* q = nullptr;  // [group, head_dim]
  std::size_t group = 1;
  std::size_t head_dim = 0;
  std::span<const PageView> pages;  // the segment; all of them with masks, or none
  std::size_t skip_rows = 0;        // rows of the first page that do not take part
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  AttentionRule rule;        // sliding_window is the caller's business here
  float* partial = nullptr;  // group * (2 + head_dim) floats
  // When not null: cap(scale * q.k) of query head g and the segment's row r (rows that are skipped
  // do not count; rows that the head does not see do) goes to logits[g * logit_stride + r]. Changes
  // nothing of the partial.
  float* logits = nullptr;
  std::size_t logit_stride = 0;
};

// Probabilities of a few queries of one query head over all rows of its KV head.
struct WindowAttentionArgs {
  const float* q = nullptr;  // [n_query, head_dim]
  std::size_t n_query = 0;
  std::size_t head_dim = 0;
  TypedRows keys;  // kF32 or kF16
  std::size_t rows = 0;
  const std::uint32_t* row_begin = nullptr;  // as in PrefillAttentionArgs
  const std::uint32_t* row_end = nullptr;
  AttentionRule rule;
  float* out = nullptr;  // [n_query, rows]; rows that are not visible get exactly 0
};

// Adds to sums[row] the probabilities that the queries of a block give to each row: a second pass
// after prefill_attention over the same block.
struct ColumnSumArgs {
  // q, strides, keys, row ranges, rule and scratch; values and out are unused. softmax, if it is
  // there, is what prefill_attention wrote for the same block: that saves half of the work.
  // weights, if they are there, too: that saves the other half, and only sums are left. They need
  // softmax.
  PrefillAttentionArgs block;
  // [rows]: += sum over the block's tokens of the mean over the query heads of the group
  float* sums = nullptr;
};

// What projected_sizes multiplies a value by.
struct Projection {
  const float* columns = nullptr;  // [head_dim, n_out]
  std::size_t head_dim = 0;
  std::size_t n_out = 0;
};

struct KernelTable {
  std::string_view name;         // "ref", "sse4", "avx2", "avx3", ...
  std::string_view description;  // one line

  // ---- rows --------------------------------------------------------------------------------
  // Sum of a[i] * b[i].
  float (*dot)(const float* a, const float* b, std::size_t n);
  // y[i] += scale * x[i].
  void (*axpy)(float scale, const float* x, float* y, std::size_t n);
  // out = x / sqrt(mean(x^2) + eps) * weight. out may be x. weight may be null (= 1).
  void (*rms_norm)(const float* x, const float* weight, float eps, float* out, std::size_t n);
  // gate[i] = silu(gate[i]) * up[i].
  void (*silu_mul)(float* gate, const float* up, std::size_t n);
  // gate[i] = gelu(gate[i]) * up[i], gelu by the tanh formula.
  void (*gelu_mul)(float* gate, const float* up, std::size_t n);
  // y[i] += x[i].
  void (*add)(const float* x, float* y, std::size_t n);
  // Rotates pairs of x in place. cos_sin: [n_rot / 2] pairs {cos, sin}. The adjacent form pairs
  // (2i, 2i + 1), the halves form (i, i + n_rot / 2). Elements from n_rot on are untouched.
  void (*rope_adjacent)(float* x, const float* cos_sin, std::size_t n_rot);
  void (*rope_halves)(float* x, const float* cos_sin, std::size_t n_rot);

  // ---- element types -----------------------------------------------------------------------
  // f32 <-> rows of a cache type, n elements (a multiple of kQuantBlock for quantised types).
  // Rounds as ggml does: f16, bf16 to nearest even, q8_0 and q4_0 as ggml's reference quantisers.
  void (*encode_row)(KvType type, const float* x, std::byte* out, std::size_t n);
  void (*decode_row)(KvType type, const std::byte* x, float* out, std::size_t n);

  // ---- attention ---------------------------------------------------------------------------
  void (*prefill_attention)(const PrefillAttentionArgs& args);
  void (*sparse_attention)(const SparseAttentionArgs& args);
  void (*decode_attention)(const DecodeAttentionArgs& args);
  void (*window_attention)(const WindowAttentionArgs& args);
  void (*column_sums)(const ColumnSumArgs& args);

  // ---- products with packed weights (packed.h); both null where a table has none -----------
  // Rounds a row of n_in activations into row `row` of a tile.
  void (*round_activations)(const float* x, std::size_t n_in, const ActivationTile& tile,
                            std::size_t row);
  // y = x W^T + bias for some panels. The same bits in every table that has it.
  void (*multiply_packed)(const PackedProductArgs& args);

  // ---- scoring -----------------------------------------------------------------------------
  // out[j] = | R (center - v_j) |, R [head_dim, head_dim] upper triangular; R null = identity.
  // Sums of squares in f32. values: [rows, head_dim], kF32 or kF16.
  void (*output_distances)(const float* r, const float* center, TypedRows values, std::size_t rows,
                           std::size_t head_dim, float* out);
  // out[d] = sum over j of weight[j] * v_j[d].
  void (*weighted_sum)(const float* weight, TypedRows values, std::size_t rows,
                       std::size_t head_dim, float* out);
  // out[j] = | v_j C |_1. values: [rows, head_dim].
  void (*projected_sizes)(const Projection& projection, TypedRows values, std::size_t rows,
                          float* out);

  // ---- choosing blocks (box_runs.h) --------------------------------------------------------
  void (*score_boxes)(const BoxScoreArgs& args);
};

// Largest number of query tokens that a caller may put into one prefill_attention block.
inline constexpr std::size_t kMaxQueryBlock = 64;
// Floats of scratch that prefill_attention, sparse_attention and column_sums need for any block of
// one KV head.
std::size_t prefill_attention_scratch(std::size_t group, std::size_t head_dim);
// Floats of PrefillAttentionArgs::weights for n_query tokens that see `rows` rows together, from
// the first of the first token to the last of the last.
std::size_t kept_weights_size(std::size_t group, std::size_t n_query, std::size_t rows);

// Combines `n` partials of decode attention, decode_partial_size() floats from one to the next, in
// order, into out [group, head_dim]. The order and the segments are the caller's and depend on the
// cache's length only.
void merge_decode(const float* partials, std::size_t n, std::size_t group, std::size_t head_dim,
                  float* out);

// Tables that this binary holds and this machine can run, best last. "ref" is always among them.
std::span<const KernelTable* const> all_tables();
// The best of them.
const KernelTable& best_table();
// kInvalidArgument, listing the names, when there is none of that name here. An empty name means
// the environment's RESTKV_KERNELS, or the best when that is not set either.
Result<const KernelTable*> table_by_name(std::string_view name);

}  // namespace restkv
