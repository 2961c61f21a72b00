#include "engine/row_report.h"

#include <algorithm>
#include <limits>
#include <string>

namespace restkv {
namespace {

struct RowCounts {
  double sets = 0;  // of all layers
  std::size_t least = std::numeric_limits<std::size_t>::max();
  std::size_t most = 0;
  std::size_t kept = 0;
  std::size_t stored = 0;  // once for the sets of a KV head
  std::size_t seen = 0;    // a full cache would hold: what earlier turns dropped counts as dropped
};

RowCounts count_rows(const ModelConfig& config, const KvCache& cache, std::size_t tokens) {
  const int sets = config.n_kv_head * cache.shape().sets;
  RowCounts counts{.sets = static_cast<double>(config.n_layer) * sets};
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const int sliding = config.attention_rule(layer).sliding_window;
    for (int h = 0; h < config.n_kv_head; ++h) counts.stored += cache.rows(layer, h);
    for (int set = 0; set < sets; ++set) {
      const std::size_t kept = cache.held_count(layer, set);
      counts.least = std::min(counts.least, kept);
      counts.most = std::max(counts.most, kept);
      counts.kept += kept;
      counts.seen += full_rows(sliding, tokens);
    }
  }
  return counts;
}

}  // namespace

KvReport row_report(const ModelConfig& config, const Variant& variant,
                    const Variant::BudgetRows& budget, const KvCache& cache, std::size_t tokens) {
  const RowCounts counts = count_rows(config, cache, tokens);
  const bool keeps_all = variant.policy().keeps_all;
  CacheShape full = cache.shape();
  full.sets = 1;
  return {.policy = std::string(variant.policy().name),
          .allocator = std::string(variant.allocator_info().name),
          .options = variant.all_options(),
          .budget = keeps_all ? "100%" : variant.options().budget.text(),
          .budget_rows = budget.rows,
          .budget_raised = budget.raised,
          .untouched = counts.kept == counts.seen,
          .prompt_tokens = tokens,
          .kept_tokens_min = counts.least,
          .kept_tokens_mean = static_cast<double>(counts.kept) / counts.sets,
          .kept_tokens_max = counts.most,
          .stored_tokens_mean = static_cast<double>(counts.stored) /
                                (static_cast<double>(config.n_layer) * config.n_kv_head),
          .dropped_tokens_mean = static_cast<double>(counts.seen - counts.kept) / counts.sets,
          .bytes = cache.bytes(),
          .bytes_full = full_cache_bytes(full, tokens),
          .end_tokens_max = counts.most,
          .granularity = std::string(
              granularity_name(keeps_all ? Granularity::kKvHead : variant.options().granularity)),
          .schedule = variant.options().schedule.text()};
}

}  // namespace restkv
