// Which schedules and granularities go with which policies and ways of decode. Every refusal says
// what is missing and what to ask for instead.

#include <string>

#include "engine/variant.h"

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

Result<void> Variant::check_schedule() const {
  if (renumbers_ && selection_) {
    return invalid(std::string(policy_->name) + ": positions=renumbered does not go with " +
                   std::string(decode_method_->name) +
                   " decode attention, which chooses by keys where they were (use dense, or "
                   "positions=original)");
  }
  const Schedule& schedule = options_.schedule;
  RESTKV_ASSIGN([[maybe_unused]] const Schedule checked, Schedule::parse(schedule.text()));
  if (schedule.kind == Schedule::Kind::kChunk && schedule.interval < window()) {
    return invalid("pieces of " + std::to_string(schedule.interval) +
                   " tokens are shorter than the window of " + std::to_string(options_.window));
  }
  if (!schedule.acts_in_decode() || policy_->keeps_all) return {};
  const std::string name(policy_->name);
  if (has(needs_, Needs::kQueryStatistics)) {
    return invalid("the schedule " + schedule.text() + " does not go with " + name +
                   ": it scores by statistics of all queries of a prompt, and there are none of "
                   "generated tokens (use once or chunk:N)");
  }
  if (has(needs_, Needs::kReplay)) {
    return invalid("the schedule " + schedule.text() + " does not go with " + name +
                   ": it scores by reading a prompt a second time, and what is generated is read "
                   "once (use once or chunk:N)");
  }
  // These look at the attention of every step, over all rows held; a selector computes a part.
  if (selection_ && (has(needs_, Needs::kColumnSums) || newest_query_only())) {
    return invalid("the schedule " + schedule.text() + " of " + name + " does not go with " +
                   std::string(decode_method_->name) + " decode attention: " + name +
                   " scores by the attention that each step pays to all rows, and this reads a "
                   "part of them (use dense, or the schedule once)");
  }
  return {};
}

Result<void> Variant::check_granularity() const {
  const std::string name(policy_->name);
  if (options_.granularity == Granularity::kQueryHead && renumbers_) {
    return invalid(name +
                   ": positions=renumbered does not go with the granularity query-head: a row that "
                   "several query heads hold would have another position for each of them (use "
                   "kv-head, or positions=original)");
  }
  if (options_.group_score == GroupScore::kMean) return {};
  if (options_.granularity == Granularity::kQueryHead) {
    return invalid(
        "the largest score of a group does not go with the granularity query-head, where each "
        "query head has a score of its own (use mean, or kv-head)");
  }
  // A replay raises a row's worth to what it is worth to any query of any head.
  if (has(needs_, Needs::kReplay)) {
    return invalid("the largest score of a group does not go with " + name +
                   ", which takes the largest over a group's query heads in any case and has no "
                   "mean (leave max out)");
  }
  if (!scores_by_group_ && !policy_->keeps_all) {
    return invalid("the largest score of a group does not go with " + name +
                   ", which makes no score for each query head of a group (use mean)");
  }
  return {};
}

}  // namespace restkv
