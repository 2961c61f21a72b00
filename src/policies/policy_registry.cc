#include <algorithm>

#include "restkv/policy.h"

namespace restkv {

const PolicyInfo* find_policy(std::string_view name) {
  const auto table = all_policies();
  const auto found = std::ranges::find(table, name, &PolicyInfo::name);
  return found != table.end() ? *found : nullptr;
}

}  // namespace restkv
