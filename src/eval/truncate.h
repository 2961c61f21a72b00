#pragma once

// Cutting a prompt that is too long as the runners of LongBench and InfiniteBench do: from the
// middle.

#include <cstddef>

#include "eval/task.h"

namespace restkv {

// Leaves the first and the last floor(cap / 2) tokens of the prompt when it has more than `cap`
// tokens, as text: each half is detokenised by itself, and halves of characters at the cut are
// dropped. Tokenised anew the prompt can come out one or two tokens off `cap`. What is left of the
// question stays the question; a question longer than the last half leaves no context behind it.
// The answer prefix counts as part of the prompt and is never cut: REQUIRES: it is shorter than
// the last half.
// Sets `tokens`. Returns whether anything was cut.
enum class Cut : std::uint8_t { kNothing, kMiddle };
Cut truncate_middle(TaskSample& sample, std::size_t cap, const TaskRequest& request);

// A sample read from a file at a length: cut so that chat template and answer fit too, unless
// length is 0. kInvalidArgument when the length leaves no room for a prompt.
Result<void> fit_to_length(TaskSample& sample, std::size_t length, const TaskRequest& request);

}  // namespace restkv
