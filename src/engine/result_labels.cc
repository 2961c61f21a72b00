#include "engine/result_labels.h"

#include "restkv/policy.h"

namespace restkv {

bool is_approximation(std::string_view policy, std::string_view schedule) {
  const PolicyInfo* info = find_policy(policy);
  return schedule.starts_with("chunk:") && (info == nullptr || !info->keeps_all);
}

}  // namespace restkv
