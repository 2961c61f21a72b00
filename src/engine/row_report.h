#pragma once

// What a cache holds after a prompt, in the words of a report.

#include <cstddef>

#include "cache/kv_cache.h"
#include "engine/variant.h"
#include "model/model.h"
#include "restkv/report.h"

namespace restkv {

// The method, its budget, and the rows and bytes of `cache` after `tokens` positions. Peaks, times
// and the pattern are left to whoever knows them.
[[nodiscard]] KvReport row_report(const ModelConfig& config, const Variant& variant,
                                  const Variant::BudgetRows& budget, const KvCache& cache,
                                  std::size_t tokens);

}  // namespace restkv
