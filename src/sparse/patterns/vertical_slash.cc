// Vertical-slash (MInference, arXiv 2407.02490): the attention of the prompt's last 64 queries is
// computed in full; the columns and the diagonals that get most of it are what all queries of the
// head read.
//
// A diagonal touches 64 neighbouring rows in a block of 64 queries, and these are read, not the
// aligned tiles around them: the kernel gathers rows. Columns are single rows. With the published
// counts nothing is left out of prompts below about 7000 tokens, which are therefore read densely.

#include <algorithm>
#include <utility>

#include "base/aligned.h"
#include "sparse/pattern.h"
#include "sparse/vertical_slash_common.h"

namespace restkv {
namespace {

class VerticalSlashRows final : public RowChoice {
 public:
  explicit VerticalSlashRows(std::vector<VerticalSlash> heads) : heads_(std::move(heads)) {}

  [[nodiscard]] bool per_head() const override { return true; }
  void rows(std::size_t head, std::size_t block, std::vector<RowSpan>& rows) const override {
    vertical_slash_rows(heads_[head], block, rows);
  }

 private:
  std::vector<VerticalSlash> heads_;
};

class VerticalSlashPattern final : public PrefillPattern {
 public:
  explicit VerticalSlashPattern(const ParamValues& values)
      : counts_{.columns = static_cast<std::size_t>(values.integer("vertical")),
                .diagonals = static_cast<std::size_t>(values.integer("slash"))} {}

  [[nodiscard]] std::size_t dense_up_to() const override {
    return counts_.columns + counts_.diagonals;
  }
  [[nodiscard]] std::unique_ptr<RowChoice> choose(const PatternInput& input) const override;

 private:
  VerticalSlashCounts counts_;
};

std::unique_ptr<RowChoice> VerticalSlashPattern::choose(const PatternInput& input) const {
  const std::size_t n = input.tokens;
  std::vector<VerticalSlash> chosen(input.n_head);
  std::vector<std::uint32_t> begin(input.count, 0);
  std::vector<std::uint32_t> end(input.count);
  for (std::size_t i = 0; i < input.count; ++i) {
    end[i] = static_cast<std::uint32_t>(input.first + i + 1);
  }
  // Heads are taken in rounds of one for each worker: the attention of 64 queries to a long prompt
  // is megabytes. Everything is allocated here: a worker must not throw.
  const auto workers = static_cast<std::size_t>(input.threads->count());
  struct Buffers {
    AlignedArray<float> q, attention, vertical, slash;
  };
  std::vector<Buffers> buffers(std::min(workers, input.n_head));
  for (Buffers& own : buffers) {
    own.q.reserve(input.count * input.head_dim);
    own.attention.reserve(input.count * n);
    own.vertical.reserve(n);
    own.slash.reserve(n);
  }
  for (std::size_t round = 0; round < input.n_head; round += buffers.size()) {
    const std::size_t heads = std::min(buffers.size(), input.n_head - round);
    input.threads->for_each(heads, [&](std::size_t i) {
      Buffers& own = buffers[i];
      const std::size_t head = round + i;
      for (std::size_t row = 0; row < input.count; ++row) {
        std::copy_n(input.q + row * input.token_stride + head * input.head_dim, input.head_dim,
                    own.q.data() + row * input.head_dim);
      }
      const HeadRows& rows = input.heads[input.kv_head(head)];
      input.kernels->window_attention({.q = own.q.data(),
                                       .n_query = input.count,
                                       .head_dim = input.head_dim,
                                       .keys = {rows.keys, rows.type},
                                       .rows = n,
                                       .row_begin = begin.data(),
                                       .row_end = end.data(),
                                       .rule = input.rule,
                                       .out = own.attention.data()});
      sum_vertical_slash({own.attention.data(), input.count, n}, own.vertical.span().first(n),
                         own.slash.span().first(n));
    });
    for (std::size_t i = 0; i < heads; ++i) {
      chosen[round + i] = choose_vertical_slash(buffers[i].vertical.span().first(n),
                                                buffers[i].slash.span().first(n), counts_);
    }
  }
  return std::make_unique<VerticalSlashRows>(std::move(chosen));
}

std::unique_ptr<PrefillPattern> make(const ParamValues& values) {
  return std::make_unique<VerticalSlashPattern>(values);
}

// Fewer diagonals than the forced ones would be a choice among equals.
constexpr ParamInfo kParams[] = {
    {.name = "vertical",
     .summary = "columns (single tokens) that a head reads, the first 30 always",
     .kind = ParamKind::kInteger,
     .default_value = "1000",
     .min = static_cast<double>(kForcedColumns),
     .max = 1e6},
    {.name = "slash",
     .summary = "diagonals (distances) that a head reads, the shortest 100 always",
     .kind = ParamKind::kInteger,
     .default_value = "6096",
     .min = static_cast<double>(kForcedDiagonals),
     .max = 1e6},
};

}  // namespace

extern const PatternInfo vertical_slash_pattern;
constinit const PatternInfo vertical_slash_pattern{
    .name = "vertical-slash",
    .summary = "the columns and diagonals that the last 64 queries attend to most",
    .paper = "MInference, arXiv 2407.02490",
    .needs = PatternNeeds::kLastQueries,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
