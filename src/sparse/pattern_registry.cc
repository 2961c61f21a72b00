#include <algorithm>
#include <string>

#include "base/names.h"
#include "sparse/pattern.h"

namespace restkv {

Result<const PatternInfo*> pattern_by_name(std::string_view name) {
  const auto table = all_patterns();
  const auto found = std::ranges::find(table, name, &PatternInfo::name);
  if (found != table.end()) return *found;
  return Error{ErrorCode::kInvalidArgument, "unknown prefill '" + std::string(name) + "' (known: " +
                                                listed(table, &PatternInfo::name) + ")"};
}

void append_span(std::size_t begin, std::size_t end, std::vector<RowSpan>& rows) {
  if (begin >= end) return;
  if (!rows.empty() && begin <= rows.back().end) {
    rows.back().end = std::max(rows.back().end, static_cast<std::uint32_t>(end));
    return;
  }
  rows.push_back(
      {.begin = static_cast<std::uint32_t>(begin), .end = static_cast<std::uint32_t>(end)});
}

}  // namespace restkv
