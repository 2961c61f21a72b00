#include "eval/runner.h"

#include <mutex>
#include <utility>

#include "base/check.h"
#include "eval/item_runner.h"
#include "eval/ranks.h"
#include "eval/runner_plan.h"
#include "eval/shared_run.h"

namespace restkv {
namespace {

class Runner {
 public:
  Runner(const EvalModel& model, std::span<const EvalVariant> variants,
         const EvalSettings& settings, const EvalWatch& watch, ResultStore& store)
      : model_(model), variants_(variants), settings_(settings), watch_(watch), store_(store) {}

  Result<EvalOutcome> run(EvalPlan plan) {
    EvalOutcome& outcome = plan.outcome;
    ItemRunner items(model_, variants_, settings_, watch_.cancel,
                     plan.chinese_words ? &*plan.chinese_words : nullptr,
                     [this](std::size_t tokens) { tell(tokens); });
    const RunItem run_item = [&items](const EvalItem& item) { return items.run(item); };
    if (watch_.ranks != nullptr && watch_.ranks->rank() > 0) {
      RESTKV_TRY(follow_run(*watch_.ranks, plan, run_item, watch_.cancel));
      return std::move(outcome);
    }
    for (const EvalItem& item : plan.items) progress_.tokens_total += item.sample.tokens;
    tell(0);
    const auto take = [&](const EvalItem& item, const ItemRows& done) {
      return add(item, done, outcome);
    };
    if (watch_.ranks != nullptr) {
      RESTKV_TRY(lead_run(*watch_.ranks, plan, run_item, {.take = take, .cancel = watch_.cancel}));
      return std::move(outcome);
    }
    for (const EvalItem& item : plan.items) {
      RESTKV_ASSIGN(const ItemRows done, items.run(item));
      RESTKV_TRY(take(item, done));
    }
    return std::move(outcome);
  }

 private:
  Result<void> add(const EvalItem& item, const ItemRows& done, EvalOutcome& outcome) {
    RESTKV_TRY(store_.add(done.rows, done.prompt ? &*done.prompt : nullptr));
    outcome.added += done.rows.size();
    outcome.tokens += done.prefix.tokens;
    outcome.shared_tokens += done.prefix.shared_tokens;
    outcome.shared_ms += done.prefix.shared_ms;
    {
      const std::lock_guard lock(telling_);
      progress_.tokens_done += item.sample.tokens;
    }
    tell(0);
    return {};
  }

  // Called by the thread that reads prompts and by the one that takes the rows of other ranks.
  void tell(std::size_t more) {
    if (!watch_.on_progress) return;
    const std::lock_guard lock(telling_);
    EvalProgress now = progress_;
    now.tokens_done += more;
    watch_.on_progress(now);
  }

  const EvalModel& model_;
  std::span<const EvalVariant> variants_;
  const EvalSettings& settings_;
  const EvalWatch& watch_;
  ResultStore& store_;
  std::mutex telling_;
  EvalProgress progress_;
};

}  // namespace

Result<EvalOutcome> run_evaluation(const EvalModel& model, std::span<const TaskInfo* const> tasks,
                                   std::span<const EvalVariant> variants,
                                   const EvalSettings& settings, const EvalWatch& watch,
                                   ResultStore& store) {
  RESTKV_CHECK(!tasks.empty() && !variants.empty());
  auto plan = plan_evaluation(model, tasks, variants, settings, watch, store);
  if (!plan.ok()) {
    if (watch.ranks != nullptr && watch.ranks->rank() == 0) end_run(*watch.ranks);
    if (watch.ranks != nullptr && watch.ranks->rank() > 0) {
      decline_run(*watch.ranks, plan.error(), watch.cancel);
    }
    return plan.error();
  }
  return Runner(model, variants, settings, watch, store).run(*std::move(plan));
}

}  // namespace restkv
