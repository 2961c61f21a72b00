#include <algorithm>

#include "restkv/allocator.h"

namespace restkv {

const AllocatorInfo* find_allocator(std::string_view name) {
  const auto table = all_allocators();
  const auto found = std::ranges::find(table, name, &AllocatorInfo::name);
  return found != table.end() ? *found : nullptr;
}

}  // namespace restkv
