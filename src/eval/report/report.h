#pragma once

// Results for people and for programs. Every function gives the whole text of a file.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/result_store.h"
#include "eval/summary.h"

namespace restkv {

// What a report is made from.
struct ReportData {
  std::string title;
  std::vector<EvalRow> rows;
  Summary summary;
  std::map<std::string, EvalPrompt> prompts;  // by hash
};

// A format by its name. Constant data.
struct ReportFormat {
  std::string_view name;  // "html"
  std::string_view summary;
  std::string (*write)(const ReportData& data) = nullptr;
};
std::span<const ReportFormat> report_formats();
// kInvalidArgument lists the names.
Result<const ReportFormat*> find_report_format(std::string_view name);

// {"rows": [{every column of the store but the kept tokens, what engine/result_labels.h and
// row_notes.h say of it: publication, budgets, approximation, block_sizes; and of word problems
// score_strict, score_flexible (number_scores.h)}], "summary": [{level, name, length, variant,
// policy, budget, allocator, samples, mean, score_strict, score_flexible, variances, against_full,
// ...}], "methods":
// [{model, suite, budget, first, second, ...}]}. Scores are 0 .. 1; a number that does not exist is
// null.
std::string report_json(const ReportData& data);
// A header and the rows, quoted as RFC 4180 says.
std::string report_csv(const ReportData& data);
// Here and on the page a prompt that was asked under several seeds is there once
// (without_repeats()), as in the summary; the formats above have every row.
// Tables; scores in percent.
std::string report_markdown(const ReportData& all);
// One page that needs nothing else: tables with shades, curves over the budget, depth maps, and the
// samples with their predictions.
std::string report_html(const ReportData& all);

}  // namespace restkv
