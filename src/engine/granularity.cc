#include "restkv/granularity.h"

#include <string>

namespace restkv {

std::string_view granularity_name(Granularity granularity) {
  return granularity == Granularity::kQueryHead ? "query-head" : "kv-head";
}

std::string_view group_score_name(GroupScore score) {
  return score == GroupScore::kMax ? "max" : "mean";
}

Result<Granularity> parse_granularity(std::string_view text) {
  for (const Granularity one : {Granularity::kKvHead, Granularity::kQueryHead}) {
    if (text == granularity_name(one)) return one;
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown granularity '" + std::string(text) + "' (known: kv-head, query-head)"};
}

Result<GroupScore> parse_group_score(std::string_view text) {
  for (const GroupScore one : {GroupScore::kMean, GroupScore::kMax}) {
    if (text == group_score_name(one)) return one;
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown score of a group '" + std::string(text) + "' (known: mean, max)"};
}

}  // namespace restkv
