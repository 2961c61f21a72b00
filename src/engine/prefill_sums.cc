// What each row receives of the attention of a chunk of a prefill, and the attention with it.
//
// A row's sum over all queries needs their probabilities, which are known only when a query has
// seen all rows. So attention keeps the weights of a few tokens until they have: writing and
// reading them costs a fraction of the products that they come from. Where they would not stay in
// the processor's caches, the products are made a second time.

#include <algorithm>

#include "engine/prefill_run.h"

namespace restkv {
namespace {

// Query rows whose weights are kept at a time: enough that a tile of keys is not prepared for too
// few of them.
constexpr std::size_t kKeptQueries = 128;
// Floats of kept weights for each worker. With 128 queries those of 14,000 rows.
constexpr std::size_t kMostKept = std::size_t{1} << 21;
// Blocks of queries that have sums of their own at a time: enough work for many threads, and an
// eighth of what a row of 64 f16 elements for key and value takes.
constexpr std::size_t kSummedBlocks = 8;

}  // namespace

std::size_t PrefillRun::tokens_kept() const {
  std::size_t tokens = kMaxQueryBlock;
  while (tokens > 1 && tokens * group_ > kKeptQueries) tokens /= 2;
  return tokens;
}

void PrefillRun::reserve_sums() {
  sum_scratch_.resize(scratch_.size());
  const std::size_t size = kept_weights_size(group_, tokens_kept(), static_cast<std::size_t>(end_));
  for (SumScratch& scratch : sum_scratch_) {
    scratch.softmax.reserve(2 * kMaxQueryBlock * group_);
    if (with_column_sums_) scratch.weights.reserve(std::min(size, kMostKept));
  }
}

// What attention knows of the softmax of a whole block, for the sums of query heads.
float* PrefillRun::softmax_of(const Block& block, std::size_t tokens) {
  const std::size_t blocks = (tokens + kMaxQueryBlock - 1) / kMaxQueryBlock;
  const std::size_t block_floats = 2 * kMaxQueryBlock * group_;
  const std::size_t index = block.start / kMaxQueryBlock;
  return softmax_.data() + (block.kv_head * blocks + index) * block_floats;
}

// Every block of queries sums for itself, and the sums are added in the order of the blocks: the
// number of threads changes no bit.
void PrefillRun::attend_and_sum(int layer, const Chunk& chunk, std::size_t first) {
  const auto heads = static_cast<std::size_t>(heads_);
  const std::size_t blocks = (chunk.positions.size() + kMaxQueryBlock - 1) / kMaxQueryBlock;
  if (with_head_sums_) softmax_.reserve(heads * blocks * 2 * kMaxQueryBlock * group_);
  std::size_t rows = 0;
  for (int h = 0; h < heads_; ++h) rows = std::max(rows, rows_->rows(h));
  for (std::size_t done = 0; done < blocks; done += kSummedBlocks) {
    const std::size_t now = std::min(kSummedBlocks, blocks - done);
    if (with_column_sums_) block_sums_.reserve(heads * now * rows);
    const auto sums_of = [&](std::size_t h, std::size_t index) -> std::span<float> {
      if (!with_column_sums_) return {};
      const std::size_t of_head = rows_->rows(static_cast<int>(h));
      return {block_sums_.data() + (h * now + index) * rows, of_head};
    };
    engine_.threads.for_each_worker(heads * now, [&](std::size_t item, std::size_t worker) {
      const std::size_t index = now - 1 - item / heads;  // the heaviest first
      const std::size_t h = item % heads;
      sum_block(layer, chunk, first,
                {.kv_head = h, .start = (done + index) * kMaxQueryBlock, .worker = worker},
                sums_of(h, index));
    });
    if (!with_column_sums_) continue;
    engine_.threads.for_each(heads, [&](std::size_t h) {
      const std::span<float> total = rows_->column_sums(static_cast<int>(h));
      for (std::size_t index = 0; index < now; ++index) {
        engine_.kernels->add(sums_of(h, index).data(), total.data(), total.size());
      }
    });
  }
  if (with_head_sums_) sum_columns_by_query_head(layer, chunk, first);
}

// Attention of one block, and what it gives to each row. sums: [rows], set; or empty, when only the
// softmax is wanted. What is done depends on nothing but the block and its rows, so that a variant
// gets the same bits in any company.
void PrefillRun::sum_block(int layer, const Chunk& chunk, std::size_t first, Block block,
                           std::span<float> sums) {
  const std::size_t start = block.start;
  const std::size_t end = std::min(start + kMaxQueryBlock, chunk.positions.size());
  const std::size_t token = first + start;
  const bool attended = is_attended(layer, token);
  const bool whole = attended && !sparse_.reads_part(token);
  const std::size_t before = rows_->rows(static_cast<int>(block.kv_head)) - chunk.appended;
  // Of the last layer it depends on the prompt's length which blocks are attended.
  const bool keeps = whole && !sums.empty() && !only_last_row(layer) &&
                     kept_weights_size(group_, tokens_kept(), before + end) <= kMostKept;
  SumScratch& scratch = sum_scratch_[block.worker];
  std::ranges::fill(sums, 0.0F);
  if (keeps) block.most = tokens_kept();
  for (; block.start < end; block.start += block.most) {
    PrefillAttentionArgs args = block_args(layer, chunk, block);
    if (whole) args.softmax = scratch.softmax.data();
    if (keeps) args.weights = scratch.weights.data();
    if (attended) attend_block(token, block, args);
    if (!sums.empty()) engine_.kernels->column_sums({.block = args, .sums = sums.data()});
    if (whole && with_head_sums_) {
      const std::size_t n_part = args.n_query * group_;
      float* const to = softmax_of(block, chunk.positions.size()) + (block.start - start) * group_;
      std::copy_n(args.softmax, n_part, to);
      std::copy_n(args.softmax + n_part, n_part, to + (end - start) * group_);
    }
  }
}

// One work item for each query head, as if it were alone in its group.
void PrefillRun::sum_columns_by_query_head(int layer, const Chunk& chunk, std::size_t first) {
  const std::size_t blocks = (chunk.positions.size() + kMaxQueryBlock - 1) / kMaxQueryBlock;
  engine_.threads.for_each_worker(
      static_cast<std::size_t>(config_.n_head), [&](std::size_t head, std::size_t worker) {
        const std::size_t h = head / group_;
        const std::size_t g = head % group_;
        float softmax[2 * kMaxQueryBlock];
        for (std::size_t index = 0; index < blocks; ++index) {
          Block block{.kv_head = h, .start = index * kMaxQueryBlock, .worker = worker};
          PrefillAttentionArgs args = block_args(layer, chunk, block);
          args.q += g * args.head_dim;
          args.out = nullptr;
          args.group = 1;
          const std::size_t token = first + block.start;
          if (is_attended(layer, token) && !sparse_.reads_part(token)) {
            const float* const of_group = softmax_of(block, chunk.positions.size());
            for (std::size_t i = 0; i < 2 * args.n_query; ++i)
              softmax[i] = of_group[i * group_ + g];
            args.softmax = softmax;
          }
          const std::span<float> sums = rows_->head_sums(static_cast<int>(h), static_cast<int>(g));
          engine_.kernels->column_sums({.block = args, .sums = sums.data()});
        }
      });
}

}  // namespace restkv
