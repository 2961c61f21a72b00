#pragma once

// The parts of the study's text, each in Markdown; empty where the rows have nothing of the kind.

#include <string>
#include <string_view>

#include "eval/report/report.h"

namespace restkv {

// What differs in it from the same method with rows of each KV head.
inline constexpr std::string_view kByQueryHead = " granularity=query-head";

[[nodiscard]] bool is_rest_kv(const std::string& variant);  // with its default options
// "gsm8k, qwen2.5-coder-0.5b".
[[nodiscard]] std::string suite_text(const std::string& suite, const std::string& model);

// Without the mark of the table of block sizes, of which a study has one for a model.
[[nodiscard]] std::string short_label(std::string variant);

// ReST-KV against the full cache; before it the suites that the full cache cannot do.
[[nodiscard]] std::string findings_against_full(const ReportData& data);
// Every other method at the same budget: a table for each suite, a column for each budget.
[[nodiscard]] std::string findings_between_methods(const ReportData& data);
[[nodiscard]] std::string findings_of_granularity(const ReportData& data);
// RULER's.
[[nodiscard]] std::string findings_of_spread(const ReportData& data);
// ReST-KV and AB-Sparse at the same number of rows read, alone and together.
[[nodiscard]] std::string findings_at_equal_reading(const ReportData& data);

}  // namespace restkv
