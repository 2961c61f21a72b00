#pragma once

// A run whose prompts are shared among ranks (eval/ranks.h). Which rank reads a prompt changes no
// row, so the store holds what one process would have written, times and memory apart.

#include <atomic>
#include <functional>

#include "eval/item_runner.h"
#include "eval/ranks.h"
#include "eval/runner_plan.h"

namespace restkv {

// What rank 0 does with the work of all ranks.
struct SharedRunWatch {
  // Rows that are done, in no order, as soon as they are there; called by several threads, by one
  // at a time. An error ends the run.
  std::function<Result<void>(const EvalItem& item, const ItemRows& done)> take;
  const std::atomic<bool>* cancel = nullptr;  // may be null
};

// Rank 0: reads the plan's items itself and has the others read them, until all are done. The first
// error of any rank is the result; the others are told nothing then, and the caller abandons them.
using RunItem = std::function<Result<ItemRows>(const EvalItem&)>;
Result<void> lead_run(Ranks& ranks, const EvalPlan& plan, const RunItem& run_item,
                      const SharedRunWatch& watch);
// Rank 0, when there is nothing to do because its plan failed: lets the others end.
void end_run(Ranks& ranks);
// The other ranks: does what rank 0 asks for until it says that all is done. `plan` is made without
// a store, so that it has every item. kInvalidArgument when the ranks do not have the same prompts.
Result<void> follow_run(Ranks& ranks, const EvalPlan& plan, const RunItem& run_item,
                        const std::atomic<bool>* cancel);
// The other ranks, when their plan failed: says so and waits until rank 0 has taken note.
void decline_run(Ranks& ranks, const Error& error, const std::atomic<bool>* cancel);

}  // namespace restkv
