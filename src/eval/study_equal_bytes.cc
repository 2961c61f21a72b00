// ReST-KV at budgets whose steps read as many bytes as AB-Sparse's.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "eval/study.h"
#include "eval/summary.h"

namespace restkv {
namespace {

bool is_rest_kv_alone(const EvalVariant& variant) {
  return variant.kv.policy == "rest-kv" && variant.kv.policy_options.empty() &&
         variant.kv.allocator == "uniform" && variant.kv.budget.unit == Budget::Unit::kTokens &&
         variant.schedule == "once" && variant.granularity == "kv-head" &&
         variant.decode_attention == "dense";
}

std::size_t budget_of(const EvalVariant& variant) {
  return static_cast<std::size_t>(variant.kv.budget.amount);
}

EvalVariant with_budget(EvalVariant variant, std::size_t budget) {
  variant.kv.budget.amount = static_cast<double>(budget);
  return variant;
}

// The rows of one model and length.
class Measured {
 public:
  Measured(std::string_view fingerprint, std::size_t length, std::span<const EvalRow> rows) {
    for (const EvalRow& row : rows) {
      if (row.suite == "ruler" && row.fingerprint == fingerprint &&
          static_cast<std::size_t>(row.length) == length) {
        rows_.push_back(&row);
        shortest_ = std::min(shortest_, static_cast<std::size_t>(row.prompt_tokens));
      }
    }
  }

  [[nodiscard]] std::size_t shortest_prompt() const { return shortest_; }

  [[nodiscard]] std::optional<StepReading> of(const EvalVariant& variant) const {
    const std::string label = variant_label(variant);
    std::vector<const EvalRow*> own;
    std::ranges::copy_if(rows_, std::back_inserter(own),
                         [&label](const EvalRow* row) { return row->variant == label; });
    return mean_reading(own);
  }

 private:
  std::vector<const EvalRow*> rows_;
  std::size_t shortest_ = std::numeric_limits<std::size_t>::max();
};

// Budgets in tokens that a model's rows of one length have.
std::vector<std::size_t> budgets_in(std::string_view fingerprint, std::size_t length,
                                    std::span<const EvalRow> rows) {
  std::vector<std::size_t> budgets;
  for (const EvalRow& row : rows) {
    if (row.fingerprint != fingerprint || static_cast<std::size_t>(row.length) != length) continue;
    const auto budget = Budget::parse(row.budget);
    if (budget.ok() && budget->unit == Budget::Unit::kTokens) {
      budgets.push_back(static_cast<std::size_t>(budget->amount));
    }
  }
  return budgets;
}

// What ReST-KV reads at a budget: rows of one size, those of the answer beside the budget's.
struct RowCost {
  double bytes = 0;   // of a row
  double beside = 0;  // rows
  [[nodiscard]] double bytes_at(std::size_t budget) const {
    return bytes * (static_cast<double>(budget) + beside);
  }
};

// Of the largest budget.
std::optional<RowCost> row_cost(const std::vector<EvalVariant>& rest_kv, const Measured& measured) {
  if (rest_kv.empty()) return std::nullopt;
  const EvalVariant& largest = *std::ranges::max_element(rest_kv, {}, budget_of);
  const std::optional<StepReading> reading = measured.of(largest);
  if (!reading || !(reading->rows > 0)) return std::nullopt;
  return RowCost{.bytes = reading->bytes / reading->rows,
                 .beside = reading->rows - static_cast<double>(budget_of(largest))};
}

}  // namespace

BudgetsByLength budgets_of_equal_bytes(const StudyPart& part, std::string_view fingerprint,
                                       std::span<const EvalRow> rows,
                                       std::span<const EvalRow> run_before) {
  std::vector<EvalVariant> rest_kv;
  std::ranges::copy_if(part.variants, std::back_inserter(rest_kv), is_rest_kv_alone);
  BudgetsByLength budgets;
  for (const std::size_t length : part.lengths) {
    const Measured measured(fingerprint, length, rows);
    const std::optional<RowCost> cost = row_cost(rest_kv, measured);
    if (!cost) continue;
    // Those of the part first; what is found is added to them.
    std::vector<std::size_t> known;
    for (const EvalVariant& variant : rest_kv) known.push_back(budget_of(variant));
    const std::vector<std::size_t> before = budgets_in(fingerprint, length, run_before);
    for (const EvalVariant& variant : part.variants) {
      if (variant.decode_attention == "dense") continue;
      const std::optional<StepReading> wanted = measured.of(variant);
      if (!wanted) continue;
      const auto apart = [&](std::size_t budget) {
        return std::abs(std::log(cost->bytes_at(budget) / wanted->bytes));
      };
      const auto reads_as_much = [&](std::size_t budget) { return apart(budget) <= kEqualBytes; };
      if (std::ranges::any_of(known, reads_as_much)) continue;
      auto budget = static_cast<std::size_t>(
          std::max(1.0, std::round(wanted->bytes / cost->bytes - cost->beside)));
      const auto again = std::ranges::min_element(before, {}, apart);
      if (again != before.end() && reads_as_much(*again)) budget = *again;
      if (budget >= measured.shortest_prompt()) continue;
      known.push_back(budget);
      budgets[length].push_back(budget);
    }
  }
  return budgets;
}

std::vector<StudyPart> parts_of_equal_bytes(const StudyPart& part, const BudgetsByLength& budgets) {
  std::vector<StudyPart> parts;
  const auto rest_kv = std::ranges::find_if(part.variants, is_rest_kv_alone);
  if (rest_kv == part.variants.end()) return parts;
  for (const auto& [length, of_length] : budgets) {
    StudyPart one = part;
    one.title += " with as many bytes as AB-Sparse reads";
    one.lengths = {length};
    one.variants.clear();
    for (const std::size_t budget : of_length) {
      one.variants.push_back(with_budget(*rest_kv, budget));
    }
    one.file_ending = kEqualBytesRows;
    one.meets_ab_sparse = false;
    parts.push_back(std::move(one));
  }
  return parts;
}

}  // namespace restkv
