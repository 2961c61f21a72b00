#pragma once

// Which rows of a database a comparison may count.

#include <cstddef>
#include <vector>

#include "eval/result_store.h"

namespace restkv {

// Without the answers of a variant to a prompt that it has answered under a smaller seed: tasks
// that are read from files have the same prompts under every seed, and one prompt counted twice
// would look like two. In the order of `rows`; those without a prompt_hash all stay.
[[nodiscard]] std::vector<EvalRow> without_repeats(std::vector<EvalRow> rows);

struct CommonRows {
  std::vector<EvalRow> rows;
  std::size_t left_out = 0;  // prompts
};
// Of each model and suite the prompts that all of its variants have answered: while a run is not
// at its end, some have answered more than others. All of them where no prompt has all answers.
[[nodiscard]] CommonRows of_common_prompts(std::vector<EvalRow> rows);

}  // namespace restkv
