// What the study says about the chat template's end, the newest that an observation window sees.

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/row_choice.h"
#include "eval/spread_difference.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

// How the same variant is called where the template's end is read after rows went.
constexpr std::string_view kBeforeTail = " mode=before-tail";

std::string usual_name(std::string variant) {
  if (variant.ends_with(kBeforeTail)) variant.erase(variant.size() - kBeforeTail.size());
  return variant;
}

// Scores of a variant on the same samples: in `other` (first) and in `data` (second).
std::vector<PairedScore> pairs_of(const ReportData& data, const ReportData& other,
                                  const SummaryEntry& entry) {
  const auto is_of = [&entry](const EvalRow& row, const std::string& variant) {
    return row.fingerprint == entry.fingerprint && row.suite == entry.name &&
           row.variant == variant;
  };
  std::map<PromptKey, double> usual;
  for (const EvalRow& row : data.rows) {
    if (is_of(row, usual_name(entry.variant))) usual[prompt_key(row)] = row.score;
  }
  std::vector<PairedScore> pairs;
  for (const EvalRow& row : other.rows) {
    const auto found = usual.find(prompt_key(row));
    if (!is_of(row, entry.variant) || found == usual.end()) continue;
    pairs.push_back({.task = row.task,
                     .length = static_cast<std::size_t>(row.length),
                     .seed = static_cast<std::uint64_t>(row.seed),
                     .first = row.score,
                     .second = found->second});
  }
  return pairs;
}

// Means over the samples of each task and length, and then over those.
double mean_of(std::span<const PairedScore> pairs, double PairedScore::* side) {
  std::map<std::tuple<std::string, std::size_t, std::uint64_t>, std::pair<double, double>> cells;
  for (const PairedScore& pair : pairs) {
    auto& [sum, n] = cells[{pair.task, pair.length, pair.seed}];
    sum += pair.*side;
    ++n;
  }
  double mean = 0;
  for (const auto& [_, cell] : cells) mean += cell.first / cell.second;
  return mean / static_cast<double>(cells.size());
}

// "ruler/cwe, ruler/vt"
std::string tasks_of(const ReportData& data) {
  std::set<std::string> tasks;
  for (const EvalRow& row : data.rows) tasks.insert(row.task);
  std::string names;
  for (const std::string& task : tasks) names += (names.empty() ? "" : ", ") + task;
  return names;
}

// A row for each variant of `other`; empty where none has samples that `data` has too. `columns`:
// headings of the scores and of their difference.
std::string comparison_table(const ReportData& data, const ReportData& other,
                             const std::string& columns) {
  std::string rows;
  for (const SummaryEntry& entry : other.summary.entries) {
    if (entry.level != SummaryLevel::kSuite) continue;
    const auto pairs = pairs_of(data, other, entry);
    const auto found = spread_difference(pairs, {});
    if (!found.ok()) continue;
    // The rows of `other` may call the model otherwise: they are another database's.
    const std::string& model =
        std::ranges::find(data.rows, entry.fingerprint, &EvalRow::fingerprint)->model;
    rows += "| " + suite_text(entry.name, model) + " | " + short_label(usual_name(entry.variant)) +
            " | " + percent_text(mean_of(pairs, &PairedScore::second)) + " | " +
            percent_text(mean_of(pairs, &PairedScore::first)) +
            format(" | %+.1f (%+.1f to %+.1f) | %zu |\n", found->mean.estimate * 100,
                   found->mean.low * 100, found->mean.high * 100, found->pairs);
  }
  if (rows.empty()) return rows;
  return "| | variant | " + columns + ", points (95 %) | prompts |\n|---|---|---|---|---|---|\n" +
         rows;
}

}  // namespace

std::string findings_before_tail(const ReportData& data, const ReportData& before_tail) {
  std::string table = comparison_table(data, before_tail, "with it | without | without minus with");
  if (table.empty()) return table;
  return "The same samples of " + tasks_of(before_tail) +
         ": once as ever, where the window ends with what the template and the task put behind "
         "every question, and once with rows that go before that is read, so that the window ends "
         "with the question; what is read then stays beside the budget, as what is written does. "
         "Intervals are not corrected.\n\n" +
         table;
}

std::string findings_without_template(const ReportData& data, const ReportData& plain) {
  std::string table = comparison_table(data, plain, "with template | without | without minus with");
  if (table.empty()) return table;
  return "The same samples of " + tasks_of(plain) +
         ", once as the model's template has them and once the same text without it; intervals are "
         "not corrected.\n\n" +
         table;
}

}  // namespace restkv
