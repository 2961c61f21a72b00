#include "engine/sparse_prefill.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace restkv {
namespace {

// Rows that dense attention reads for the blocks of queries in [first, end), for one head.
std::size_t dense_rows(std::size_t first, std::size_t end) {
  std::size_t rows = 0;
  for (std::size_t block = first; block < end; block += kPatternBlock) {
    rows += std::min(block + kPatternBlock, end);
  }
  return rows;
}

}  // namespace

Result<PrefillAttention> parse_prefill_attention(std::string_view text) {
  RESTKV_ASSIGN(NamedParams named, parse_named_params(text));
  PrefillAttention attention{.pattern = std::move(named.name),
                             .options = std::move(named.assignments)};
  RESTKV_TRY(check_prefill_attention(attention));
  return attention;
}

Result<void> check_prefill_attention(const PrefillAttention& attention) {
  auto made = SparsePrefill::make(attention);
  if (!made.ok()) return made.error();
  return {};
}

Result<void> check_combination(const KvOptions& options, const PrefillAttention& attention) {
  RESTKV_TRY(check_kv_options(options));
  RESTKV_ASSIGN(const SparsePrefill made, SparsePrefill::make(attention));
  if (!made.is_sparse() || options.schedule.kind != Schedule::Kind::kChunk) return {};
  return Error{ErrorCode::kInvalidArgument,
               "the schedule " + options.schedule.text() + " does not go with " +
                   attention.pattern +
                   " prefill: later pieces stand on what is left of the earlier ones and are read "
                   "densely (use dense, or another schedule)"};
}

Result<SparsePrefill> SparsePrefill::make(const PrefillAttention& attention) {
  SparsePrefill sparse;
  RESTKV_ASSIGN(sparse.info_, pattern_by_name(attention.pattern));
  const PatternInfo& info = *sparse.info_;
  RESTKV_ASSIGN(const ParamValues values,
                ParamValues::parse(info.name, info.params, attention.options));
  if (info.make != nullptr) sparse.pattern_ = info.make(values);
  sparse.report_.pattern = std::string(info.name);
  sparse.report_.options = values.all();
  return sparse;
}

void SparsePrefill::begin(const Prompt& prompt) {
  prompt_ = prompt;
  dense_from_ = 0;
  if (pattern_ == nullptr) return;
  const std::string name(info_->name);
  if (prompt.continued) {
    report_.dense_because = "a later turn is read densely";
    return;
  }
  if (prompt.tokens <= pattern_->dense_up_to()) {
    report_.dense_because = name + " reads prompts of up to " +
                            std::to_string(pattern_->dense_up_to()) + " tokens densely";
    return;
  }
  const std::size_t tail =
      std::max({kLeastDenseTail, prompt.largest_window, pattern_->dense_tail()});
  if (prompt.tokens > tail) {
    dense_from_ = (prompt.tokens - tail) / kPatternBlock * kPatternBlock;
  }
  if (dense_from_ == 0) {
    report_.dense_because = "the last " + std::to_string(tail) + " queries are read densely";
    return;
  }
  workers_.resize(prompt.workers);
  for (Worker& worker : workers_) worker.rows.reserve(prompt.tokens / 2 + 2);
}

void SparsePrefill::begin_layer(Layer layer) {
  layer_ = active() ? layer : Layer::kDense;
  choice_ = nullptr;
  for (Worker& worker : workers_) worker.rows_read = 0;
}

bool SparsePrefill::wants(PatternNeeds needs, std::size_t first) const {
  return reads_part(first) && info_->needs == needs;
}

void SparsePrefill::choose(const PatternInput& input) {
  const Clock::time_point start = Clock::now();
  choice_ = pattern_->choose(input);
  add_estimate(ms_since(start));
}

void SparsePrefill::attend(const KernelTable& kernels, const PrefillAttentionArgs& args,
                           const Block& block) {
  RESTKV_DCHECK(choice_ != nullptr);
  Worker& worker = workers_[block.worker];
  const bool per_head = choice_->per_head();
  // Heads that read the same rows share the tiles; the others are blocks of their own.
  const std::size_t together = per_head ? 1 : args.group;
  for (std::size_t g = 0; g < args.group; g += together) {
    PrefillAttentionArgs own = args;
    own.q += g * args.head_dim;
    own.out += g * args.head_dim;
    own.group = together;
    choice_->rows(block.kv_head * args.group + g, block.first / kPatternBlock, worker.rows);
    for (const RowSpan& span : worker.rows) worker.rows_read += together * (span.end - span.begin);
    kernels.sparse_attention({.block = own, .listed = worker.rows});
  }
}

void SparsePrefill::end_layer() {
  if (layer_ == Layer::kDense) {
    report_.layer_density.push_back(1.0);
    return;
  }
  std::size_t read = dense_rows(dense_from_, prompt_.tokens) * prompt_.n_head;
  for (const Worker& worker : workers_) read += worker.rows_read;
  report_.layer_density.push_back(
      static_cast<double>(read) /
      static_cast<double>(dense_rows(0, prompt_.tokens) * prompt_.n_head));
}

}  // namespace restkv
