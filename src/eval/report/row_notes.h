#pragma once

// What has to be said of a row beside its columns, made from them.

#include <string>

#include "eval/result_store.h"

namespace restkv {

// How large the blocks are that decode read: block_sizes_text() of what was in force. Empty where
// decode read everything. Rows of before a table said how it was made do not say it either.
[[nodiscard]] std::string row_block_sizes(const EvalRow& row);

// The settings of a row for people: "products auto, template model"; what the model says itself is
// left out. A text that is no JSON object is returned as it is.
[[nodiscard]] std::string row_settings(const EvalRow& row);

}  // namespace restkv
