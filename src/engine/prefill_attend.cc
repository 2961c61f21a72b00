// The attention of a chunk of a prefill, and what each row receives of it.

#include <algorithm>

#include "base/clock.h"
#include "engine/prefill_run.h"

namespace restkv {

// What the queries of a block are given; the rows that they see are written down in the block.
PrefillAttentionArgs PrefillRun::block_args(int layer, const Chunk& chunk, Block& block) {
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const AttentionRule rule = config_.attention_rule(layer);
  const HeadRows view = rows_->view(static_cast<int>(block.kv_head));
  const std::size_t before = view.positions.size() - chunk.appended;  // older than the chunk
  const std::size_t start = block.index * kMaxQueryBlock;
  const std::size_t n_query = std::min(kMaxQueryBlock, chunk.positions.size() - start);
  for (std::size_t i = 0; i < n_query; ++i) {
    block.end[i] = static_cast<std::uint32_t>(before + start + i + 1);
    block.begin[i] = 0;
    if (rule.sliding_window > 0) {
      const Position oldest = chunk.positions[start + i] - rule.sliding_window + 1;
      const auto it = std::ranges::lower_bound(view.positions, oldest);
      block.begin[i] = static_cast<std::uint32_t>(it - view.positions.begin());
    }
  }
  const std::size_t at = start * config_.q_size() + block.kv_head * group_ * head_dim;
  return {.q = q_.data() + at,
          .out = attended_.data() + at,
          .token_stride = config_.q_size(),
          .n_query = n_query,
          .group = group_,
          .head_dim = head_dim,
          .keys = {view.keys, view.type},
          .values = {view.values, view.type},
          .row_begin = block.begin,
          .row_end = block.end,
          .rule = rule,
          .scratch = scratch_[block.worker].data()};
}

// Where the last layer's result is not read, nothing but its last block is computed.
bool PrefillRun::is_attended(int layer, std::size_t token) const {
  return !only_last_row(layer) || token + kMaxQueryBlock >= n_;
}

// What attention knows of the softmax, for the column sums of the same block.
float* PrefillRun::softmax_of(const Block& block, std::size_t blocks) {
  const std::size_t block_floats = 2 * kMaxQueryBlock * group_;
  return softmax_.data() + (block.kv_head * blocks + block.index) * block_floats;
}

// Attention of the chunk's queries over all rows held: one work item for each KV head and block of
// queries, then (if a policy wants them) the column sums.
void PrefillRun::attend(int layer, std::size_t first, std::size_t count) {
  const auto heads = static_cast<std::size_t>(heads_);
  const std::size_t blocks = (count + kMaxQueryBlock - 1) / kMaxQueryBlock;
  const Chunk chunk{.positions = std::span<const Position>(positions_).subspan(first, count),
                    .appended = appended_ - first};
  const bool with_sums = with_column_sums_ || with_head_sums_;
  if (with_sums) softmax_.reserve(heads * blocks * 2 * kMaxQueryBlock * group_);
  const Clock::time_point attention_start = Clock::now();
  engine_.threads.for_each_worker(heads * blocks, [&](std::size_t item, std::size_t worker) {
    // Later blocks see more rows: the heaviest go first, so that no worker waits at the end.
    const std::size_t index = blocks - 1 - item / heads;
    const std::size_t token = first + index * kMaxQueryBlock;
    if (!is_attended(layer, token)) return;
    Block block{.kv_head = item % heads, .index = index, .worker = worker};
    PrefillAttentionArgs args = block_args(layer, chunk, block);
    if (sparse_.reads_part(token)) {
      sparse_.attend(*engine_.kernels, args,
                     {.kv_head = block.kv_head, .first = token, .worker = worker});
    } else {
      if (with_sums) args.softmax = softmax_of(block, blocks);
      engine_.kernels->prefill_attention(args);
    }
  });
  sparse_.add_attention(ms_since(attention_start));
  if (with_column_sums_) sum_columns(layer, chunk, first);
  if (with_head_sums_) sum_columns_by_query_head(layer, chunk, first);
}

// One work item for each head of the rows.
void PrefillRun::sum_columns(int layer, const Chunk& chunk, std::size_t first) {
  const std::size_t blocks = (chunk.positions.size() + kMaxQueryBlock - 1) / kMaxQueryBlock;
  engine_.threads.for_each_worker(
      static_cast<std::size_t>(heads_), [&](std::size_t h, std::size_t worker) {
        for (std::size_t index = 0; index < blocks; ++index) {
          Block block{.kv_head = h, .index = index, .worker = worker};
          PrefillAttentionArgs args = block_args(layer, chunk, block);
          const std::size_t token = first + index * kMaxQueryBlock;
          if (is_attended(layer, token) && !sparse_.reads_part(token)) {
            args.softmax = softmax_of(block, blocks);
          }
          engine_.kernels->column_sums(
              {.block = args, .sums = rows_->column_sums(static_cast<int>(h)).data()});
        }
      });
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
          Block block{.kv_head = h, .index = index, .worker = worker};
          PrefillAttentionArgs args = block_args(layer, chunk, block);
          args.q += g * args.head_dim;
          args.out = nullptr;
          args.group = 1;
          const std::size_t token = first + index * kMaxQueryBlock;
          if (is_attended(layer, token) && !sparse_.reads_part(token)) {
            const float* const of_group = softmax_of(block, blocks);
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
