// The attention of a chunk of a prefill.

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
  const std::size_t n_query = std::min(block.most, chunk.positions.size() - block.start);
  for (std::size_t i = 0; i < n_query; ++i) {
    block.end[i] = static_cast<std::uint32_t>(before + block.start + i + 1);
    block.begin[i] = 0;
    if (rule.sliding_window > 0) {
      const Position oldest = chunk.positions[block.start + i] - rule.sliding_window + 1;
      const auto it = std::ranges::lower_bound(view.positions, oldest);
      block.begin[i] = static_cast<std::uint32_t>(it - view.positions.begin());
    }
  }
  const std::size_t at = block.start * config_.q_size() + block.kv_head * group_ * head_dim;
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

// Attention of the chunk's queries over all rows held: one work item for each KV head and block of
// queries, then (if a policy wants them) the column sums.
void PrefillRun::attend(int layer, std::size_t first, std::size_t count) {
  const auto heads = static_cast<std::size_t>(heads_);
  const std::size_t blocks = (count + kMaxQueryBlock - 1) / kMaxQueryBlock;
  const Chunk chunk{.positions = std::span<const Position>(positions_).subspan(first, count),
                    .appended = appended_ - first};
  const Clock::time_point attention_start = Clock::now();
  if (with_column_sums_ || with_head_sums_) {
    attend_and_sum(layer, chunk, first);
  } else {
    engine_.threads.for_each_worker(heads * blocks, [&](std::size_t item, std::size_t worker) {
      // Later blocks see more rows: the heaviest go first, so that no worker waits at the end.
      Block block{.kv_head = item % heads,
                  .start = (blocks - 1 - item / heads) * kMaxQueryBlock,
                  .worker = worker};
      const std::size_t token = first + block.start;
      if (is_attended(layer, token)) attend_block(token, block, block_args(layer, chunk, block));
    });
  }
  sparse_.add_attention(ms_since(attention_start));
}

// token: the first of the block, counted from the prompt's.
void PrefillRun::attend_block(std::size_t token, const Block& block,
                              const PrefillAttentionArgs& args) {
  if (sparse_.reads_part(token)) {
    sparse_.attend(*engine_.kernels, args,
                   {.kv_head = block.kv_head, .first = token, .worker = block.worker});
  } else {
    engine_.kernels->prefill_attention(args);
  }
}

}  // namespace restkv
