// Which tables there are, and how one is chosen.

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/hwy/tables.h"
#include "kernels/kernels.h"
#include "kernels/ref/table.h"

namespace restkv {
namespace {

constexpr const char* kEnvironment = "RESTKV_KERNELS";

std::string known_names() {
  std::string names;
  for (const KernelTable* table : all_tables()) {
    if (!names.empty()) names += ", ";
    names += table->name;
  }
  return names;
}

Result<const KernelTable*> find_table(std::string_view name, std::string_view asked_by) {
  const auto tables = all_tables();
  const auto found = std::ranges::find(tables, name, &KernelTable::name);
  if (found != tables.end()) return *found;
  return Error{ErrorCode::kInvalidArgument, "no kernels '" + std::string(name) +
                                                "' on this machine" + std::string(asked_by) +
                                                "; there are: " + known_names()};
}

}  // namespace

std::span<const KernelTable* const> all_tables() {
  static const std::vector<const KernelTable*> kTables = [] {
    std::vector<const KernelTable*> tables = {&ref_table()};
    for (const KernelTable& table : highway_tables()) tables.push_back(&table);
    return tables;
  }();
  return kTables;
}

const KernelTable& best_table() { return *all_tables().back(); }

Result<const KernelTable*> table_by_name(std::string_view name) {
  if (!name.empty()) return find_table(name, "");
  const char* const wanted = std::getenv(kEnvironment);
  if (wanted != nullptr && *wanted != '\0') return find_table(wanted, " (RESTKV_KERNELS)");
  return &best_table();
}

}  // namespace restkv
