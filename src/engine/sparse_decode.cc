#include "engine/sparse_decode.h"

#include <algorithm>
#include <string>

namespace restkv {
namespace {

// Of a choice of blocks: only the last page may be unfinished, and a choice always has it.
std::size_t rows_of(std::span<const PageView> pages) {
  return (pages.size() - 1) * kPageRows + pages.back().rows;
}

// Leaves the pages of these blocks, in their order.
void keep_blocks(std::span<const std::uint32_t> blocks, std::size_t pages_per_block,
                 std::vector<PageView>& pages) {
  std::size_t kept = 0;
  for (const std::uint32_t block : blocks) {
    const std::size_t end = std::min((block + 1) * pages_per_block, pages.size());
    for (std::size_t page = block * pages_per_block; page < end; ++page) {
      pages[kept++] = pages[page];
    }
  }
  pages.resize(kept);
}

}  // namespace

SparseReads::SparseReads(Engine::State& engine, std::span<Sequence::State* const> sequences)
    : engine_(engine),
      sequences_(sequences),
      group_(static_cast<std::size_t>(engine.model->config().group())),
      scratch_(static_cast<std::size_t>(engine.threads.count())),
      counts_(sequences.size()) {}

// Prepares the choice of a head; false when it reads everything.
bool SparseReads::choose(int layer, const HeadRead& read) {
  Sequence::State& sequence = *sequences_[read.sequence];
  const SelectionPlan* plan = sequence.variant->selection();
  const CacheShape& shape = sequence.cache.shape();
  if (plan == nullptr || layer < plan->dense_layers) return false;
  if (shape.sliding_window[static_cast<std::size_t>(layer)] > 0) return false;
  const std::size_t rows = sequence.cache.rows(layer, static_cast<int>(read.head));
  const std::size_t budget = sequence.variant->decode_rows(rows);
  if (budget >= rows) return false;
  const std::size_t block_rows =
      sequence.variant->block_rows(static_cast<std::size_t>(layer), read.head);
  const std::size_t n_block = blocks_for_rows(rows, block_rows);
  const std::size_t picked = picked_blocks(*plan, block_rows, budget);
  if (picked + plan->first_blocks + plan->last_blocks >= n_block) return false;

  if (choices_.size() == n_choices_) choices_.emplace_back();
  Choice& choice = choices_[n_choices_++];
  choice.read = &read;
  choice.cache = &sequence.cache;
  choice.layer = layer;
  choice.plan = plan;
  choice.type_k = shape.type_k;
  choice.summarised = summarised_blocks(rows, block_rows);
  choice.picked = picked;
  choice.summaries =
      &sequence.summaries.prepare(shape, engine_.counter, layer, static_cast<int>(read.head),
                                  {.box = plan->box,
                                   .type = plan->summaries,
                                   .block_rows = block_rows,
                                   .head_dim = static_cast<std::size_t>(shape.head_dim)},
                                  choice.summarised);
  // Everything is allocated here: a worker must not throw.
  choice.scores.resize(choice.summarised);
  choice.keys.resize(choice.summarised);
  choice.blocks.reserve(n_block);
  const std::size_t floats =
      std::max(choice.summaries->update_scratch(), choice.summaries->score_scratch(group_));
  for (AlignedArray<float>& scratch : scratch_) scratch.reserve(floats);
  return true;
}

void SparseReads::plan(int layer, std::span<const HeadRead> reads) {
  n_choices_ = 0;
  narrows_.clear();
  for (const HeadRead& read : reads) {
    DecodeReads& counts = counts_[read.sequence];
    const std::size_t rows =
        sequences_[read.sequence]->cache.rows(layer, static_cast<int>(read.head));
    counts.heads += 1;
    counts.rows_held += rows;
    narrows_.push_back(choose(layer, read));
    if (!narrows_.back()) counts.rows_read += rows;
  }
}

void SparseReads::narrow() {
  engine_.threads.for_each_worker(n_choices_, [&](std::size_t i, std::size_t worker) {
    narrow(choices_[i], scratch_[worker].data());
  });
  for (std::size_t i = 0; i < n_choices_; ++i) {
    const HeadRead& read = *choices_[i].read;
    counts_[read.sequence].rows_read += rows_of(read.pages->pages);
  }
}

void SparseReads::narrow(Choice& choice, float* scratch) const {
  const HeadRead& read = *choice.read;
  BlockSummaries& summaries = *choice.summaries;
  const std::size_t pages_per_block = summaries.shape().block_rows / kPageRows;
  const std::size_t first = summaries.blocks() * pages_per_block;
  const std::size_t end = choice.summarised * pages_per_block;
  KvCache::HeadPages& pages = *read.pages;
  const auto add_pages = [&](std::size_t from, std::size_t to) {
    choice.cache->append_pages(choice.layer, static_cast<int>(read.head), from, to, pages);
  };
  const bool listed = !pages.pages.empty();
  if (!listed && first < end) add_pages(first, end);
  const std::span<const PageView> all(pages.pages);
  summaries.update(*engine_.kernels, choice.type_k,
                   listed && first < end ? all.subspan(first) : all, choice.summarised, scratch);
  summaries.score(*engine_.kernels, read.q, group_, choice.plan->merge, choice.scores, scratch);
  select_blocks(*choice.plan, choice.scores, choice.picked, choice.keys, choice.blocks);
  if (listed) {
    keep_blocks(choice.blocks, pages_per_block, pages.pages);
    return;
  }
  pages.pages.clear();
  pages.skip_rows = 0;
  for (const std::uint32_t block : choice.blocks) {
    add_pages(block * pages_per_block, (block + 1) * pages_per_block);
  }
}

void SparseReads::commit() {
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    DecodeReads& total = sequences_[s]->decode_reads;
    ++total.steps;
    total.heads += counts_[s].heads;
    total.rows_read += counts_[s].rows_read;
    total.rows_held += counts_[s].rows_held;
    total.summary_bytes = sequences_[s]->summaries.bytes();
  }
}

Result<void> check_decode_options(const ModelInfo& model, std::span<const KvOptions> variants) {
  for (const KvOptions& options : variants) {
    const BlockTable* table = options.decode.table.get();
    if (table == nullptr) continue;
    if (table->fingerprint != model.fingerprint || table->n_layer != model.n_layer ||
        table->n_kv_head != model.n_kv_head) {
      return Error{ErrorCode::kInvalidArgument,
                   table->name + ": the block sizes are those of another model (" +
                       table->fingerprint + "), not of " + model.name + " (" + model.fingerprint +
                       ")"};
    }
  }
  return {};
}

DecodeReport decode_report(const Sequence::State& sequence) {
  const Variant& variant = *sequence.variant;
  const DecodeReads& reads = sequence.decode_reads;
  const auto mean = [&](std::size_t rows) {
    return reads.heads > 0 ? static_cast<double>(rows) / static_cast<double>(reads.heads) : 0.0;
  };
  DecodeReport report{.method = std::string(variant.decode_method().name),
                      .budget = variant.decode_budget_text(),
                      .options = variant.decode_params().all(),
                      .table = {},
                      .table_mean = {},
                      .table_texts = {},
                      .steps = reads.steps,
                      .rows_read_mean = mean(reads.rows_read),
                      .rows_held_mean = mean(reads.rows_held),
                      .summary_bytes = reads.summary_bytes};
  if (const BlockTable* table = variant.options().decode.table.get(); table != nullptr) {
    report.table = table->name;
    report.table_mean = table->mean;
    report.table_mean_rows = table->mean_rows;
    report.table_texts = table->texts;
    std::erase_if(report.options, [](const auto& option) { return option.first == "block"; });
  }
  return report;
}

std::string block_sizes_text(const DecodeReport& report) {
  if (!report.table.empty()) {
    std::string text = "a block size for each head, ";
    text += report.table_mean.empty() ? "of a mean that the table does not name"
                                      : report.table_mean + " mean";
    if (report.table_mean_rows > 0) text += " " + std::to_string(report.table_mean_rows);
    return text + ", measured on " +
           (report.table_texts.empty() ? "texts that the table does not name" : report.table_texts);
  }
  const auto block = std::ranges::find(report.options, "block", &ParamValues::Assignment::first);
  return block == report.options.end() ? "" : "blocks of " + block->second + " for all heads";
}

}  // namespace restkv
