// XAttention (arXiv 2503.16428): a block of the attention matrix is worth the sum along its
// antidiagonals, taken every `stride` rows, so that one product of folded rows stands for all; each
// block of queries reads the smallest set of blocks that holds `threshold` of its estimated
// attention, and always the first block and its own.
//
// The published code keeps a little more than that rule in the first chunk of a prompt; this is the
// rule. Chunks begin at multiples of the block, so the choice does not depend on them: a block of
// queries needs the keys up to its own end and nothing else.

#include <algorithm>
#include <string>
#include <utility>

#include "base/aligned.h"
#include "sparse/pattern.h"
#include "sparse/xattention_common.h"

namespace restkv {
namespace {

class XAttentionRows final : public RowChoice {
 public:
  XAttentionRows(std::vector<std::uint8_t> chosen, std::size_t first_block, std::size_t blocks,
                 std::size_t key_blocks, std::size_t block)
      : chosen_(std::move(chosen)),
        first_block_(first_block),
        blocks_(blocks),
        key_blocks_(key_blocks),
        block_(block) {}

  [[nodiscard]] bool per_head() const override { return true; }
  void rows(std::size_t head, std::size_t block, std::vector<RowSpan>& rows) const override {
    rows.clear();
    const std::size_t own = block * kPatternBlock / block_;
    const std::size_t end = (block + 1) * kPatternBlock;
    const std::uint8_t* const chosen =
        chosen_.data() + (head * blocks_ + own - first_block_) * key_blocks_;
    for (std::size_t k = 0; k <= own; ++k) {
      if (chosen[k] != 0) append_span(k * block_, std::min(end, (k + 1) * block_), rows);
    }
  }

 private:
  std::vector<std::uint8_t> chosen_;  // [n_head, blocks, key_blocks]
  std::size_t first_block_, blocks_, key_blocks_;
  std::size_t block_;  // tokens
};

class XAttention final : public PrefillPattern {
 public:
  explicit XAttention(const ParamValues& values)
      : size_{.stride = std::stoul(std::string(values.choice("stride"))),
              .block = std::stoul(std::string(values.choice("block")))},
        threshold_(values.number("threshold")) {}

  // The first block and the diagonal are all of it.
  [[nodiscard]] std::size_t dense_up_to() const override { return 2 * size_.block; }
  [[nodiscard]] std::unique_ptr<RowChoice> choose(const PatternInput& input) const override;

 private:
  XAttentionSize size_;
  double threshold_;
};

std::unique_ptr<RowChoice> XAttention::choose(const PatternInput& input) const {
  const std::size_t first_block = input.first / size_.block;
  const std::size_t blocks = (input.count + size_.block - 1) / size_.block;
  const std::size_t key_blocks = first_block + blocks;
  std::vector<std::uint8_t> chosen(input.n_head * blocks * key_blocks, 0);
  const auto input_of = [&](std::size_t head) {
    const HeadRows& rows = input.heads[input.kv_head(head)];
    return XAttentionInput{.q = input.q + head * input.head_dim,
                           .token_stride = input.token_stride,
                           .first = input.first,
                           .count = input.count,
                           .head_dim = input.head_dim,
                           .keys = {rows.keys, rows.type},
                           .rule = input.rule};
  };
  // Everything is allocated here: a worker must not throw.
  struct Buffers {
    AlignedArray<float> scratch, sums;
    AlignedArray<std::uint32_t> order;
  };
  std::vector<Buffers> buffers(static_cast<std::size_t>(input.threads->count()));
  for (Buffers& own : buffers) {
    own.scratch.reserve(xattention_scratch(input_of(0), size_));
    own.sums.reserve(blocks * key_blocks);
    own.order.reserve(key_blocks);
  }
  input.threads->for_each_worker(input.n_head, [&](std::size_t head, std::size_t worker) {
    Buffers& own = buffers[worker];
    const View2<float> sums(own.sums.data(), blocks, key_blocks);
    xattention_sums(input_of(head), size_, *input.kernels, own.scratch.span(), sums);
    for (std::size_t q = 0; q < blocks; ++q) {
      const std::size_t visible = first_block + q + 1;
      choose_xattention_blocks(sums.row(q).first(visible), threshold_,
                               own.order.span().first(visible),
                               {chosen.data() + (head * blocks + q) * key_blocks, visible});
    }
  });
  return std::make_unique<XAttentionRows>(std::move(chosen), first_block, blocks, key_blocks,
                                          size_.block);
}

std::unique_ptr<PrefillPattern> make(const ParamValues& values) {
  return std::make_unique<XAttention>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "stride",
     .summary = "rows that are folded into one for the estimate",
     .kind = ParamKind::kChoice,
     .default_value = "16",
     .choices = "4|8|16"},
    {.name = "block",
     .summary = "tokens of a block",
     .kind = ParamKind::kChoice,
     .default_value = "128",
     .choices = "64|128"},
    {.name = "threshold",
     .summary = "share of the estimated attention that the chosen blocks must hold",
     .kind = ParamKind::kNumber,
     .default_value = "0.9",
     .min = 0,
     .max = 1},
};

}  // namespace

extern const PatternInfo xattention_pattern;
constinit const PatternInfo xattention_pattern{
    .name = "xattention",
    .summary = "the blocks that hold most of the attention, by their antidiagonals",
    .paper = "XAttention, arXiv 2503.16428",
    .needs = PatternNeeds::kChunkQueries,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
