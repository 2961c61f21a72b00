#pragma once

// Lists of names for messages and help.

#include <functional>
#include <string>
#include <string_view>

namespace restkv {

// "full, snapkv, rest-kv": what name_of says of each entry, in the table's order. name_of: a
// function or a pointer to a member that gives something a string_view can be made of.
template <typename Table, typename NameOf>
[[nodiscard]] std::string listed(const Table& table, const NameOf& name_of) {
  std::string names;
  for (const auto& entry : table) {
    if (!names.empty()) names += ", ";
    names += std::string_view(std::invoke(name_of, entry));
  }
  return names;
}

}  // namespace restkv
