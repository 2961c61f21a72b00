#pragma once

// Which rows of a database a comparison may count.

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "eval/result_store.h"

namespace restkv {

// Task, length, seed and sample: rows of one model that agree in them answer the same prompt.
using PromptKey = std::tuple<std::string, std::int64_t, std::int64_t, std::string>;
[[nodiscard]] inline PromptKey prompt_key(const EvalRow& row) {
  return {row.task, row.length, row.seed, row.sample};
}

// One answer of each variant to each prompt. Tasks that are read from files have the same prompts
// under every seed, and one prompt counted twice would look like two: all its rows get the smallest
// seed that it was asked under, and of those of a variant the first is left. Rows without a
// prompt_hash stay as they are. In the order of `rows`.
[[nodiscard]] std::vector<EvalRow> without_repeats(std::vector<EvalRow> rows);

struct CommonRows {
  std::vector<EvalRow> rows;
  std::size_t left_out = 0;  // prompts
};
// Of each model and suite the prompts that all methods have answered, as far as the run has come: a
// full cache may have gone ahead of them, and a variant with fewer prompts than others is one that
// is no longer asked for. All of them where there is no such prompt. Rows as without_repeats()
// leaves them.
[[nodiscard]] CommonRows of_common_prompts(std::vector<EvalRow> rows);

}  // namespace restkv
