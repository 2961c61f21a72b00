#include "eval/runner.h"

#include <utility>

#include "base/check.h"
#include "eval/item_runner.h"
#include "eval/runner_plan.h"

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
    for (const EvalItem& item : plan.items) progress_.tokens_total += item.sample.tokens;
    tell(0);
    for (const EvalItem& item : plan.items) {
      RESTKV_ASSIGN(const ItemRows done, items.run(item));
      RESTKV_TRY(add(item, done, outcome));
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
    progress_.tokens_done += item.sample.tokens;
    tell(0);
    return {};
  }

  void tell(std::size_t more) const {
    if (!watch_.on_progress) return;
    EvalProgress now = progress_;
    now.tokens_done += more;
    watch_.on_progress(now);
  }

  const EvalModel& model_;
  std::span<const EvalVariant> variants_;
  const EvalSettings& settings_;
  const EvalWatch& watch_;
  ResultStore& store_;
  EvalProgress progress_;
};

}  // namespace

Result<EvalOutcome> run_evaluation(const EvalModel& model, std::span<const TaskInfo* const> tasks,
                                   std::span<const EvalVariant> variants,
                                   const EvalSettings& settings, const EvalWatch& watch,
                                   ResultStore& store) {
  RESTKV_CHECK(!tasks.empty() && !variants.empty());
  RESTKV_ASSIGN(EvalPlan plan, plan_evaluation(model, tasks, variants, settings, watch, store));
  return Runner(model, variants, settings, watch, store).run(std::move(plan));
}

}  // namespace restkv
