#include "engine/variant.h"

#include <algorithm>
#include <cmath>

#include "base/names.h"

namespace restkv {
namespace {

constexpr int kMaxWindow = 4096;
constexpr int kMaxSinks = 1 << 20;

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

Result<void> check_window(const KvOptions& options, const PolicyInfo& policy, bool even) {
  if (options.window < 1 || options.window > kMaxWindow) {
    return invalid("the window must be from 1 to " + std::to_string(kMaxWindow) + ", not " +
                   std::to_string(options.window));
  }
  if (even && options.window % 2 != 0) {
    return invalid(std::string(policy.name) + " needs an even window, not " +
                   std::to_string(options.window));
  }
  if (options.sinks < 0 || options.sinks > kMaxSinks) {
    return invalid("the number of sinks must be from 0 to " + std::to_string(kMaxSinks) + ", not " +
                   std::to_string(options.sinks));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Variant>> Variant::make(const KvOptions& options) {
  auto variant = std::shared_ptr<Variant>(new Variant());
  variant->options_ = options;
  // Options that were filled in without these are held to the same bounds.
  RESTKV_ASSIGN([[maybe_unused]] const Budget budget, Budget::parse(options.budget.text()));
  if (options.decode.budget) {
    RESTKV_ASSIGN([[maybe_unused]] const Budget read, Budget::parse(options.decode.budget->text()));
  }
  variant->policy_ = find_policy(options.policy);
  if (variant->policy_ == nullptr) {
    return invalid("unknown policy '" + options.policy +
                   "' (known: " + listed(all_policies(), &PolicyInfo::name) + ")");
  }
  variant->allocator_info_ = find_allocator(options.allocator);
  if (variant->allocator_info_ == nullptr) {
    return invalid("unknown allocator '" + options.allocator +
                   "' (known: " + listed(all_allocators(), &AllocatorInfo::name) + ")");
  }
  const PolicyInfo& policy = *variant->policy_;
  const AllocatorInfo& allocator = *variant->allocator_info_;
  RESTKV_ASSIGN(variant->policy_params_,
                ParamValues::parse(policy.name, policy.params, options.policy_options));
  RESTKV_ASSIGN(variant->allocator_params_,
                ParamValues::parse(allocator.name, allocator.params, options.allocator_options));
  if (policy.check != nullptr) RESTKV_TRY(policy.check(variant->policy_params_, /*n_layer=*/0));
  const PolicyInfo& scores =
      policy.inner != nullptr ? *policy.inner(variant->policy_params_) : policy;
  RESTKV_TRY(check_window(options, policy, policy.even_window || scores.even_window));
  variant->needs_ = policy.needs | scores.needs;
  variant->scores_depend_on_budget_ =
      policy.scores_depend_on_budget || scores.scores_depend_on_budget;
  variant->reads_rows_ = policy.reads_rows || scores.reads_rows;
  variant->scores_by_group_ = policy.scores_by_group || scores.scores_by_group;
  variant->renumbers_ = policy.renumbers != nullptr && policy.renumbers(variant->policy_params_);
  variant->protection_ = options.protect == Protect::kPaper
                             ? scores.paper_protection
                             : Protection{.sinks = options.sinks, .window = true};
  const auto protected_rows = static_cast<double>(variant->protected_rows());
  if (!policy.keeps_all && options.budget.unit == Budget::Unit::kTokens &&
      options.budget.amount < protected_rows) {
    return invalid("a budget of " + options.budget.text() + " tokens is below the " +
                   std::to_string(variant->protected_rows()) + " protected rows (" +
                   std::to_string(variant->protection_.sinks) + " sinks + " +
                   std::to_string(variant->protection_.window ? options.window : 0) + " window)");
  }
  RESTKV_TRY(variant->make_decode());
  RESTKV_TRY(variant->check_schedule());
  RESTKV_TRY(variant->check_granularity());
  variant->scorer_ = policy.make(variant->policy_params_);
  variant->allocator_ = allocator.make(variant->allocator_params_);
  variant->score_key_ = std::string(policy.name);
  for (const auto& [name, value] : variant->policy_params_.all()) {
    variant->score_key_ += ":" + name + "=" + value;
  }
  variant->score_key_ += "|" + std::to_string(options.window) + "|" + std::to_string(options.seed);
  variant->score_key_ += "|" + std::string(granularity_name(options.granularity)) + "|" +
                         std::string(group_score_name(options.group_score));
  return std::shared_ptr<const Variant>(std::move(variant));
}

Result<void> Variant::check_model(std::span<const int> sliding_windows) const {
  if (renumbers_ && std::ranges::any_of(sliding_windows, [](int rows) { return rows > 0; })) {
    return invalid(std::string(policy_->name) +
                   ": positions=renumbered does not go with a model whose layers see a sliding "
                   "window of positions (use positions=original)");
  }
  if (policy_->check == nullptr) return {};
  return policy_->check(policy_params_, static_cast<int>(sliding_windows.size()));
}

std::size_t Variant::protected_rows() const {
  return static_cast<std::size_t>(protection_.sinks) +
         (protection_.window ? static_cast<std::size_t>(options_.window) : 0);
}

Variant::BudgetRows Variant::budget_rows(std::size_t tokens) const {
  if (policy_->keeps_all) return {.rows = tokens, .raised = false};
  const Budget& budget = options_.budget;
  if (budget.unit == Budget::Unit::kTokens) {
    return {.rows = static_cast<std::size_t>(budget.amount), .raised = false};
  }
  // The small addend keeps 10 % of 1000 from becoming 99 by rounding.
  const auto rows = static_cast<std::size_t>(
      std::floor(budget.amount * static_cast<double>(tokens) / 100.0 + 1e-9));
  const std::size_t least = std::max<std::size_t>(1, protected_rows());
  return {.rows = std::max(rows, least), .raised = rows < least};
}

std::vector<ParamValues::Assignment> Variant::all_options() const {
  std::vector<ParamValues::Assignment> all = policy_params_.all();
  for (const auto& [name, value] : allocator_params_.all()) {
    all.emplace_back(std::string(allocator_info_->name) + "." + name, value);
  }
  all.emplace_back("window", std::to_string(options_.window));
  all.emplace_back("sinks", std::to_string(options_.sinks));
  all.emplace_back("protect", options_.protect == Protect::kPaper ? "paper" : "default");
  if (scores_by_group_ && options_.granularity == Granularity::kKvHead) {
    all.emplace_back("group", group_score_name(options_.group_score));
  }
  all.emplace_back("type_k", kv_type_name(options_.type_k));
  all.emplace_back("type_v", kv_type_name(options_.type_v));
  all.emplace_back("seed", std::to_string(options_.seed));
  return all;
}

Result<void> check_kv_options(const KvOptions& options) {
  auto variant = Variant::make(options);
  if (!variant.ok()) return variant.error();
  return {};
}

}  // namespace restkv
