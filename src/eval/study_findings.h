#pragma once

// The parts of the study's text, each in Markdown; empty where the rows have nothing of the kind.

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/report/report.h"
#include "eval/study.h"

namespace restkv {

// What differs in it from the same method with rows of each KV head.
inline constexpr std::string_view kByQueryHead = " granularity=query-head";

[[nodiscard]] bool is_rest_kv(const std::string& variant);  // with its default options
// "gsm8k, qwen2.5-coder-0.5b".
[[nodiscard]] std::string suite_text(const std::string& suite, const std::string& model);

// " decode_table=1a2b3c4d" of a variant that has one: the block sizes that it was run with.
[[nodiscard]] std::string table_mark(const std::string& variant);
// Without that mark: mostly a study has one table for a model.
[[nodiscard]] std::string short_label(std::string variant);

// The answers in a few lines, of what for_the_question() made: ReST-KV at each budget beside the
// full cache and beside which methods.
[[nodiscard]] std::string findings_in_short(const ReportData& data);

// ReST-KV against the full cache; before it the suites that the full cache cannot do.
[[nodiscard]] std::string findings_against_full(const ReportData& data,
                                                const FullScores& alone = {});
// The comparisons that the study is made for, corrected for one another (Holm): on each model and
// suite ReST-KV against the full cache, and ReST-KV, rows of KV heads, against each other variant
// at the same budget: once, under the other's schedule where it was run with that. The pairs of
// other methods, of which reports have all, answer another question and are left out.
[[nodiscard]] ReportData for_the_question(const ReportData& data);
// A difference that counts: corrected for all of its kind, p is below 0.05.
[[nodiscard]] bool is_told_apart(const Comparison& comparison);
// "+30.5 (+26.2 to +35.2)" points, in bold where it is told apart from 0. `sign` -1 turns it round.
[[nodiscard]] std::string difference_text(const Comparison& comparison, double sign);

// A table of one suite: a line for each of what is compared, a column for each budget.
struct BudgetTable {
  using Row = std::pair<std::size_t, std::string>;          // its rank, and its name
  std::vector<std::string> budgets;                         // in order of appearance
  std::map<Row, std::map<std::string, std::string>> cells;  // by budget
  std::size_t prompts = 0;

  // Empty when it is new.
  std::string& cell(const Row& row, const std::string& budget);
};
[[nodiscard]] std::string budget_table_text(const std::string& title, const BudgetTable& table);

// Every other method at the same budget: a table for each suite, a column for each budget.
[[nodiscard]] std::string findings_between_methods(const ReportData& data);
// ReST-KV beside itself without one of its parts.
[[nodiscard]] std::string findings_of_parts(const ReportData& data);
[[nodiscard]] std::string findings_of_granularity(const ReportData& data);
// `before_tail`: the same samples in the mode of that name.
[[nodiscard]] std::string findings_before_tail(const ReportData& data,
                                               const ReportData& before_tail);
// `plain`: the same samples without a chat template.
[[nodiscard]] std::string findings_without_template(const ReportData& data,
                                                    const ReportData& plain);
// How much was run, and how small a difference that could find.
// `alone`: of the full cache, which may have answered more than `data` has.
[[nodiscard]] std::string findings_of_limits(const ReportData& data, const FullScores& alone = {});
// RULER's.
[[nodiscard]] std::string findings_of_spread(const ReportData& data);
// ReST-KV and AB-Sparse, alone and together, where their steps read about as many bytes. `more`: of
// parts_of_equal_bytes(), or null.
struct EqualReading {
  std::string in_short;  // lines as those of findings_in_short(): each alone
  std::string table;
};
[[nodiscard]] EqualReading findings_at_equal_reading(const ReportData& data,
                                                     const ReportData* more = nullptr);

}  // namespace restkv
