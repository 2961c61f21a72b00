#pragma once

// What has a set of rows of its own, and how the query heads of a group share one.

#include <cstdint>
#include <string_view>

#include "restkv/result.h"

namespace restkv {

// Whose rows are scored, counted by a budget and kept.
enum class Granularity : std::uint8_t {
  kKvHead,     // a KV head's: the query heads of its group see the same rows
  kQueryHead,  // each query head's, as most publications have it, where keys and values are
               // repeated for the group. A row is stored once for the group, as long as one of its
               // heads keeps it; a budget counts the rows of a query head
};

// What several query heads make of a row for their KV head.
enum class GroupScore : std::uint8_t {
  kMean,
  kMax,  // what one of them needs stays
};

// "kv-head", "query-head"; "mean", "max".
[[nodiscard]] std::string_view granularity_name(Granularity granularity);
[[nodiscard]] std::string_view group_score_name(GroupScore score);
// As these name them. kInvalidArgument for anything else; the message lists the names.
Result<Granularity> parse_granularity(std::string_view text);
Result<GroupScore> parse_group_score(std::string_view text);

}  // namespace restkv
