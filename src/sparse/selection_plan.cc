#include "sparse/selection_plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "base/top_k.h"

namespace restkv {
namespace {

constexpr std::size_t kLeastBlocks = 3;

}  // namespace

std::size_t decode_budget_rows(const Budget& budget, std::size_t rows) {
  if (budget.unit == Budget::Unit::kTokens) return static_cast<std::size_t>(budget.amount);
  // The small addend keeps 10 % of 1000 from becoming 99 by rounding.
  return static_cast<std::size_t>(
      std::floor(budget.amount * static_cast<double>(rows) / 100.0 + 1e-9));
}

std::size_t picked_blocks(const SelectionPlan& plan, std::size_t block_rows,
                          std::size_t budget_rows) {
  const std::size_t half = plan.rounding == BlockRounding::kNearest ? block_rows / 2 : 0;
  const std::size_t blocks = std::max(kLeastBlocks, (budget_rows + half) / block_rows);
  return blocks - std::min(blocks, plan.paid_blocks);
}

void select_blocks(const SelectionPlan& plan, std::span<const float> scores, std::size_t picked,
                   std::span<std::int32_t> keys, std::vector<std::uint32_t>& blocks) {
  const std::size_t n_block = scores.size() + 1;
  const std::size_t begin = std::min(plan.first_blocks, n_block);
  const std::size_t end = std::max(begin, n_block - std::min(plan.last_blocks, n_block));
  RESTKV_DCHECK(plan.last_blocks > 0);
  blocks.clear();
  for (std::size_t block = 0; block < begin; ++block) {
    blocks.push_back(static_cast<std::uint32_t>(block));
  }
  append_top_k(scores.subspan(std::min(begin, scores.size()), end - begin), picked,
               static_cast<std::uint32_t>(begin), keys, blocks);
  for (std::size_t block = end; block < n_block; ++block) {
    blocks.push_back(static_cast<std::uint32_t>(block));
  }
}

void read_common_params(const ParamValues& values, SelectionPlan& plan) {
  const std::string_view block = values.choice("block");
  std::from_chars(block.data(), block.data() + block.size(), plan.block_rows);
  const std::string_view type = values.choice("summaries");
  plan.summaries = type == "int4"   ? SummaryType::kInt4
                   : type == "int8" ? SummaryType::kInt8
                                    : SummaryType::kF16;
  plan.dense_layers = values.integer("dense-layers");
}

}  // namespace restkv
