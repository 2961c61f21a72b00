#pragma once

// A user's KvOptions, checked and turned into the objects that carry them out.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "restkv/allocator.h"
#include "restkv/decode_options.h"
#include "restkv/kv_options.h"
#include "restkv/policy.h"
#include "restkv/result.h"
#include "sparse/selection_plan.h"

namespace restkv {

// Immutable; shared by all sequences that were made with it.
class Variant {
 public:
  // kInvalidArgument as check_kv_options() says.
  static Result<std::shared_ptr<const Variant>> make(const KvOptions& options);

  [[nodiscard]] const KvOptions& options() const { return options_; }
  [[nodiscard]] const PolicyInfo& policy() const { return *policy_; }
  // What the policy needs, with what it needs for the policy whose scores it works on.
  [[nodiscard]] Needs needs() const { return needs_; }
  // Each row carries one number from turn to turn: what it received, or was worth to a replay.
  [[nodiscard]] bool has_column() const {
    return has(needs_, Needs::kColumnSums) || has(needs_, Needs::kReplay);
  }
  [[nodiscard]] bool scores_depend_on_budget() const { return scores_depend_on_budget_; }
  // As PolicyInfo says, with the policy whose scores it works on.
  [[nodiscard]] bool reads_rows() const { return reads_rows_; }
  [[nodiscard]] bool newest_query_only() const { return policy_->newest_query_only; }
  // Attention sees the rows of a sequence side by side (engine/renumber.h).
  [[nodiscard]] bool renumbers() const { return renumbers_; }
  // Sets of rows of each KV head of `group` query heads (CacheShape::sets).
  [[nodiscard]] int sets(int group) const {
    return options_.granularity == Granularity::kQueryHead && !policy_->keeps_all ? group : 1;
  }
  // kInvalidArgument when the policy's options do not go with a model of these layers.
  // sliding_windows: [layers] rows that each may see, 0 = all.
  [[nodiscard]] Result<void> check_model(std::span<const int> sliding_windows) const;
  [[nodiscard]] const Scorer& scorer() const { return *scorer_; }
  [[nodiscard]] const AllocatorInfo& allocator_info() const { return *allocator_info_; }
  [[nodiscard]] const Allocator& allocator() const { return *allocator_; }
  [[nodiscard]] const Protection& protection() const { return protection_; }
  [[nodiscard]] std::size_t window() const { return static_cast<std::size_t>(options_.window); }

  // Rows that protection keeps of a prompt of any length.
  [[nodiscard]] std::size_t protected_rows() const;

  // Rows per KV head and layer when `tokens` tokens were seen.
  struct BudgetRows {
    std::size_t rows = 0;
    bool raised = false;  // a percent budget came to less than the protected rows
  };
  [[nodiscard]] BudgetRows budget_rows(std::size_t tokens) const;

  // How decode reads the cache. selection(): null = everything, in every step.
  [[nodiscard]] const DecodeMethodInfo& decode_method() const { return *decode_method_; }
  [[nodiscard]] const ParamValues& decode_params() const { return decode_params_; }
  [[nodiscard]] const SelectionPlan* selection() const {
    return selection_ ? &*selection_ : nullptr;
  }
  // Rows that a KV head with `rows` rows reads in a step. REQUIRES: selection().
  [[nodiscard]] std::size_t decode_rows(std::size_t rows) const;
  // Block size of a head: the table's, or the plan's. REQUIRES: selection().
  [[nodiscard]] std::size_t block_rows(std::size_t layer, std::size_t head) const;
  [[nodiscard]] std::string decode_budget_text() const;

  // Every option in force, for reports: the policy's, then the allocator's, then the common ones.
  [[nodiscard]] std::vector<ParamValues::Assignment> all_options() const;
  // Equal for two variants whose scores are the same for the same budget.
  [[nodiscard]] const std::string& score_key() const { return score_key_; }

 private:
  Variant() = default;
  Result<void> make_decode();
  // Whether the schedule goes with policy, window and decode. REQUIRES: all of them are made.
  [[nodiscard]] Result<void> check_schedule() const;
  // Whether the policy has the granularity and the score of a group. REQUIRES: as above.
  [[nodiscard]] Result<void> check_granularity() const;

  KvOptions options_;
  const PolicyInfo* policy_ = nullptr;
  const AllocatorInfo* allocator_info_ = nullptr;
  Needs needs_ = Needs::kNothing;
  bool scores_depend_on_budget_ = false;
  bool reads_rows_ = true;
  bool renumbers_ = false;
  bool scores_by_group_ = false;
  ParamValues policy_params_;
  ParamValues allocator_params_;
  std::unique_ptr<Scorer> scorer_;
  std::unique_ptr<Allocator> allocator_;
  Protection protection_;
  std::string score_key_;
  const DecodeMethodInfo* decode_method_ = nullptr;
  ParamValues decode_params_;
  std::optional<SelectionPlan> selection_;
  Budget decode_budget_;
};

}  // namespace restkv
