#pragma once

// What an answer to a word problem is worth when its number is looked for in one way only.

#include <optional>
#include <span>

#include "eval/result_store.h"
#include "eval/summary.h"

namespace restkv {

struct NumberScores {
  double strict = 0;    // the scorer number_strict: the number after the closing phrase
  double flexible = 0;  // number_flexible: the last number
};

// Made from the prediction and the answers, so rows of any age have them. Nothing where the row's
// metric is not `number`, or its answers are no numbers.
[[nodiscard]] std::optional<NumberScores> number_scores(const EvalRow& row);

// Both in place of the entry's mean: over those of the rows that it sums up, weighted as there.
// Rows as summarise() saw them, without repeats. Nothing where one of them has no such scores.
[[nodiscard]] std::optional<NumberScores> mean_number_scores(std::span<const EvalRow> rows,
                                                             const SummaryEntry& entry);

}  // namespace restkv
