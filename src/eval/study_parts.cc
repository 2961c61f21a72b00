// What the study says about the parts of ReST-KV, and about what all of it allows to say.

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/row_choice.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

struct Part {
  std::string_view what;
  std::string_view without;  // policy
};
constexpr std::array<Part, 3> kParts = {
    {{"moving average over the queries (without: plain mean)", "rest-kv:ema=off"},
     {"distances after the output projection W_o (without: before it)", "rest-kv:wo=off"},
     {"window over neighbours that follows the drift (without: plain maximum)",
      "rest-kv:smoothing=max"}}};

// "rest-kv 64" of "rest-kv:ema=off 64"; nothing of a variant that has the part.
std::string whole_of(const Part& part, const std::string& variant) {
  if (!variant.starts_with(std::string(part.without) + " ")) return "";
  return "rest-kv" + variant.substr(part.without.size());
}

void add_to(BudgetTable& table, std::size_t p, const MethodComparison& methods) {
  const bool first = whole_of(kParts[p], methods.second) == methods.first;
  if (!first && whole_of(kParts[p], methods.first) != methods.second) return;
  table.cell({p, std::string(kParts[p].what)}, methods.budget) =
      difference_text(methods.comparison, first ? 1 : -1);
  table.prompts = std::max(table.prompts, methods.comparison.pairs);
}

// ---- limits ------------------------------------------------------------------------------------

// What was run of a suite on a model.
struct Extent {
  std::set<std::string> tasks;
  std::set<std::int64_t> lengths;
  std::set<std::int64_t> seeds;
  std::set<PromptKey> prompts;
};

std::string lengths_text(const std::set<std::int64_t>& lengths) {
  std::string text;
  for (const std::int64_t length : lengths) {
    if (length > 0) text += (text.empty() ? " of " : ", ") + std::to_string(length);
  }
  return text.empty() ? text : text + " tokens";
}

std::string extent_text(const Extent& extent) {
  return std::to_string(extent.prompts.size()) + " prompts" + lengths_text(extent.lengths) + " (" +
         std::to_string(extent.tasks.size()) + (extent.tasks.size() == 1 ? " task, " : " tasks, ") +
         std::to_string(extent.seeds.size()) + (extent.seeds.size() == 1 ? " seed)" : " seeds)");
}

// How many comparisons of ReST-KV with another method there are, how many are told apart, and how
// small a difference such a comparison finds.
std::string power_text(const ReportData& data, const std::string& model, const std::string& suite) {
  std::size_t all = 0;
  std::size_t apart = 0;
  std::vector<double> detectable;
  for (const MethodComparison& methods : data.summary.methods) {
    if (methods.model != model || methods.suite != suite) continue;
    ++all;
    if (is_told_apart(methods.comparison)) ++apart;
    if (methods.comparison.detectable) detectable.push_back(*methods.comparison.detectable);
  }
  if (all == 0) return "";
  std::string text =
      format(" Of %zu comparisons of ReST-KV at one budget, %zu are told apart", all, apart);
  if (detectable.empty()) return text + ".";
  const auto middle = detectable.begin() + static_cast<std::ptrdiff_t>(detectable.size() / 2);
  std::nth_element(detectable.begin(), middle, detectable.end());
  return text + format(
                    "; a single comparison would find a difference of %.0f points in four of five "
                    "repetitions (median), and corrected for all of them only a larger one.",
                    *middle * 100);
}

}  // namespace

std::string findings_of_parts(const ReportData& data) {
  std::vector<std::pair<std::string, BudgetTable>> tables;
  for (const MethodComparison& methods : data.summary.methods) {
    for (std::size_t p = 0; p < kParts.size(); ++p) {
      if (whole_of(kParts[p], methods.first).empty() &&
          whole_of(kParts[p], methods.second).empty()) {
        continue;
      }
      const std::string title = suite_text(methods.suite, methods.model);
      if (tables.empty() || tables.back().first != title) tables.emplace_back(title, BudgetTable{});
      add_to(tables.back().second, p, methods);
    }
  }
  std::string text;
  for (const auto& [title, table] : tables) {
    if (!table.cells.empty()) text += (text.empty() ? "" : "\n") + budget_table_text(title, table);
  }
  if (text.empty()) return text;
  return "What each part adds: ReST-KV minus ReST-KV without it, points (95 %), by budget.\n\n" +
         text;
}

std::string findings_of_limits(const ReportData& data, const FullScores& alone) {
  std::map<std::pair<std::string, std::string>, Extent> extents;  // model, suite
  std::map<std::pair<std::string, std::string>, double> full;
  for (const EvalRow& row : data.rows) {
    Extent& extent = extents[{row.model, row.suite}];
    extent.tasks.insert(row.task);
    extent.lengths.insert(row.length);
    extent.seeds.insert(row.seed);
    extent.prompts.insert(prompt_key(row));
  }
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level == SummaryLevel::kSuite && entry.variant == "full") {
      full[{entry.model, entry.name}] = entry.mean;
    }
  }
  std::string text;
  for (const auto& [where, extent] : extents) {
    const auto& [model, suite] = where;
    const auto score = full.find(where);
    text += "- **" + suite_text(suite, model) + "**: " + extent_text(extent);
    if (score != full.end())
      text += "; the full cache scores " + percent_text(score->second) + " %";
    if (const auto more = alone.find(where);
        more != alone.end() && more->second.prompts > extent.prompts.size()) {
      text += format(", and %.1f %% of the %zu that it has answered", more->second.mean() * 100,
                     more->second.prompts);
    }
    text += "." + power_text(data, model, suite) + "\n";
  }
  if (text.empty()) return text;
  return text +
         "\nWhat is in bold holds for these models, with these weights, on prompts drawn as these "
         "were. What is not in bold was not found, which is not the same as not there. Nothing "
         "here speaks of other models, of longer prompts or of other wordings; and scores of a "
         "suite are means over its tasks, among which methods differ more than their means do.\n";
}

}  // namespace restkv
