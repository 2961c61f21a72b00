#pragma once

// Right answers that the sample's own metric cannot compare anything with, found while a file is
// read: later it would cost the run everything that was read and answered before.

#include <string_view>

#include "eval/json_file.h"
#include "eval/task.h"

namespace restkv {

// kCorrupt, with file, line and `field`, when the metric refuses the sample's answers or classes.
// What needs the Chinese words takes any text. REQUIRES: sample.metric names a scorer
Result<void> check_answers(const TaskSample& sample, const JsonRecord& row, std::string_view field);

}  // namespace restkv
