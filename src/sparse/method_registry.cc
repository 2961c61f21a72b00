#include <algorithm>

#include "restkv/decode_options.h"

namespace restkv {

const DecodeMethodInfo* find_decode_method(std::string_view name) {
  const auto table = all_decode_methods();
  const auto found = std::ranges::find(table, name, &DecodeMethodInfo::name);
  return found != table.end() ? *found : nullptr;
}

}  // namespace restkv
