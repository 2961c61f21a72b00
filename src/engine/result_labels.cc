#include "engine/result_labels.h"

#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {

bool is_approximation(std::string_view policy, std::string_view schedule) {
  const PolicyInfo* info = find_policy(policy);
  return schedule.starts_with("chunk:") && (info == nullptr || !info->keeps_all);
}

std::string_view budgets_label(std::string_view allocator) {
  if (allocator.empty()) return "";
  const AllocatorInfo* info = find_allocator(allocator.substr(0, allocator.find(':')));
  return info != nullptr && info->across_layers ? "for all layers together" : "per layer";
}

std::string_view publication_of(std::string_view policy) {
  const PolicyInfo* info = find_policy(policy);
  return info == nullptr ? "" : info->paper;
}

}  // namespace restkv
