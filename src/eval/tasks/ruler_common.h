#pragma once

// What RULER's tasks share: the haystack of lines, placing lines in it, and the published files.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eval/draws.h"
#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

// One line of a haystack that says nothing: about 25 tokens.
inline constexpr std::string_view kNoiseLine =
    "The hills are green. The roof is red. The lamp is lit. Off we go. Round and round again.";

// Every pattern is replaced once, from left to right; what was put in is not looked at again.
struct Slot {
  std::string_view name;  // "{key}"
  std::string_view value;
};
std::string filled(std::string_view text, std::initializer_list<Slot> slots);

std::string joined(const std::vector<std::string>& pieces, std::string_view separator);

// Puts each line of `hidden` before a line of the haystack at a place of its own, all places
// different while there are enough.
std::vector<std::string> hide_lines(std::vector<std::string> haystack,
                                    std::vector<std::string> hidden, Draws& draws);

// Units that are added or taken away in one step at this length.
[[nodiscard]] constexpr std::size_t step_at(std::size_t length, std::size_t step,
                                            std::size_t short_step) {
  return length < 4096 ? short_step : step;
}

// ruler/<length>/<task>.jsonl as NVIDIA/RULER writes it, both with the field `answer_prefix` and
// older, with the prefix inside `input`. The question is the last line; from an old row the prefix
// is cut off again, behind the question mark or before "Answer:". No row is changed: context,
// question and prefix together are the official prompt.
Result<std::vector<TaskSample>> published_ruler_samples(const TaskInfo& task,
                                                        const TaskRequest& request,
                                                        std::size_t length);

}  // namespace restkv
