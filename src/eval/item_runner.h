#pragma once

// Reads one prompt for the variants that lack it and lets them answer: the part of a run that takes
// the time, and knows no store.

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "eval/decode_answers.h"
#include "eval/runner.h"
#include "eval/runner_plan.h"
#include "restkv/shared_prefix.h"

namespace restkv {

// What the prompts of an item had in common with those before.
struct PrefixCounts {
  std::size_t tokens = 0;         // of its prompts, once for each way of reading
  std::size_t shared_tokens = 0;  // of these: not read again
  double shared_ms = 0;           // what reading them took when it was done
};

struct ItemRows {
  std::vector<EvalRow> rows;  // one for each of the item's variants
  std::optional<EvalPrompt> prompt;
  PrefixCounts prefix;
};

class ItemRunner {
 public:
  // Everything must outlive the object; `words` may be null. on_tokens: how many tokens of the item
  // in hand are done.
  ItemRunner(const EvalModel& model, std::span<const EvalVariant> variants,
             const EvalSettings& settings, const std::atomic<bool>* cancel,
             const ChineseWords* words, std::function<void(std::size_t)> on_tokens);

  // kCancelled; the errors of engine and scorers. Items of one group that follow one another share
  // what they begin with.
  Result<ItemRows> run(const EvalItem& item);

 private:
  // A prompt in the caches of the variants that are read alike.
  struct Reading {
    std::vector<Sequence> sequences;
    std::vector<KvReport> reports;   // of each, over all of it
    std::vector<double> prefill_ms;  // of each, without compression
    std::vector<float> logits;       // one row for all, or one of each
  };

  [[nodiscard]] std::vector<std::vector<std::size_t>> groups_of(const EvalItem& item) const;
  Result<void> run_group(const EvalItem& item, std::span<const std::size_t> group, ItemRows& out);
  SharedPrefix* beginning_of(const EvalItem& item, std::span<const KvOptions> options,
                             ReadFirst reads);
  void count_prefill(std::size_t tokens);
  [[nodiscard]] PrefillOptions watched(std::size_t before, const PrefillAttention& attention) const;
  [[nodiscard]] double prefill_ms() const;
  Result<Reading> read_once(const EvalItem& item, std::span<const KvOptions> options,
                            const PrefillAttention& attention);
  Result<Reading> read_twice(const EvalItem& item, ReadFirst reads,
                             std::span<const KvOptions> options, const PrefillAttention& attention);
  // tail: what is left of the prompt, for all alike.
  Result<void> write_tail(std::span<const Token> tail, double first_ms, Reading& reading);
  [[nodiscard]] EvalRow row_of(const EvalItem& item, const EvalVariant& variant) const;
  Result<void> set_answer(const EvalItem& item, const Answer& answer, EvalRow& row) const;

  const EvalModel& model_;
  std::span<const EvalVariant> variants_;
  const EvalSettings& settings_;
  const std::atomic<bool>* cancel_;
  const ChineseWords* words_;
  std::function<void(std::size_t)> on_tokens_;
  std::size_t group_ = 0;                                          // of the item in hand
  std::map<std::pair<bool, ReadFirst>, SharedPrefix> beginnings_;  // {f32 caches, how it is read}
  PrefixCounts counts_;
};

}  // namespace restkv
