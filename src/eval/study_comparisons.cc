// What the study says about ReST-KV beside the full cache and beside other methods.

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/study.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

// ReST-KV with an option of its own: another section has those.
bool is_part_taken_out(const std::string& variant) { return variant.starts_with("rest-kv:"); }

std::string without_budget(const std::string& variant, const std::string& budget) {
  const std::string word = " " + budget;
  const std::size_t at = variant.find(word);
  return at == std::string::npos ? variant
                                 : variant.substr(0, at) + variant.substr(at + word.size());
}

// "schedule=every:32", or nothing.
std::string schedule_of(const std::string& variant) {
  const std::size_t at = variant.find("schedule=");
  return at == std::string::npos ? "" : variant.substr(at, variant.find(' ', at) - at);
}

// ReST-KV of which steps read a part: another section has it, at equal bytes. At its own budget of
// kept rows it is beside nothing that it should be compared with.
bool reads_a_part(const std::string& variant) {
  return is_rest_kv(variant) && variant.find(" decode_attn=") != std::string::npos;
}

void add_to(BudgetTable& table, const MethodComparison& methods) {
  const bool first = is_rest_kv(methods.first);
  const std::string& own = first ? methods.first : methods.second;
  const std::string& other = first ? methods.second : methods.first;
  // Schedules meet their like; those that ReST-KV was not run with meet it as it is by default.
  if (!schedule_of(own).empty() && schedule_of(own) != schedule_of(other)) return;
  std::string& cell =
      table.cell({0, short_label(without_budget(other, methods.budget))}, methods.budget);
  cell = difference_text(methods.comparison, first ? 1 : -1);
  table.prompts = std::max(table.prompts, methods.comparison.pairs);
}

using Names = std::pair<const std::string*, const std::string*>;
std::array<Names, 2> both_ways(const MethodComparison& methods) {
  return {Names{&methods.first, &methods.second}, Names{&methods.second, &methods.first}};
}

// ReST-KV on one side, under the other's schedule or none of its own.
bool is_of_the_question(const MethodComparison& methods) {
  return std::ranges::any_of(both_ways(methods), [](const Names& names) {
    const auto& [own, other] = names;
    return is_rest_kv(*own) && !own->ends_with(kByQueryHead) && !reads_a_part(*own) &&
           !reads_a_part(*other) &&
           (schedule_of(*own).empty() || schedule_of(*own) == schedule_of(*other));
  });
}

}  // namespace

ReportData for_the_question(const ReportData& data) {
  ReportData asked = data;
  // Methods that ReST-KV meets under their own schedule.
  std::set<std::tuple<std::string, std::string, std::string>> met;
  for (const MethodComparison& methods : data.summary.methods) {
    for (const auto& [own, other] : both_ways(methods)) {
      const std::string schedule = schedule_of(*own);
      if (is_rest_kv(*own) && !schedule.empty() && schedule == schedule_of(*other)) {
        met.emplace(methods.model, methods.suite, *other);
      }
    }
  }
  std::erase_if(asked.summary.methods, [&](const MethodComparison& methods) {
    if (!is_of_the_question(methods)) return true;
    return std::ranges::any_of(both_ways(methods), [&](const auto& pair) {
      return is_rest_kv(*pair.first) && schedule_of(*pair.first).empty() &&
             met.contains({methods.model, methods.suite, *pair.second});
    });
  });
  // By model and suite.
  std::map<std::pair<std::string, std::string>, std::vector<Comparison*>> of_full;
  std::map<std::pair<std::string, std::string>, std::vector<Comparison*>> of_methods;
  for (SummaryEntry& entry : asked.summary.entries) {
    if (entry.level == SummaryLevel::kSuite && is_rest_kv(entry.variant) && entry.against_full) {
      of_full[{entry.model, entry.name}].push_back(&*entry.against_full);
    }
  }
  for (MethodComparison& methods : asked.summary.methods) {
    of_methods[{methods.model, methods.suite}].push_back(&methods.comparison);
  }
  for (const auto& [where, family] : of_full) correct_for_many(family);
  for (const auto& [where, family] : of_methods) correct_for_many(family);
  return asked;
}

bool is_told_apart(const Comparison& comparison) { return comparison.p_holm < 0.05; }

std::string difference_text(const Comparison& comparison, double sign) {
  const Interval& interval = comparison.difference;
  const auto [low, high] = std::minmax({sign * interval.low, sign * interval.high});
  const std::string text = format("%+.1f (%+.1f to %+.1f)", sign * interval.estimate * 100 + 0.0,
                                  low * 100 + 0.0, high * 100 + 0.0);
  return is_told_apart(comparison) ? "**" + text + "**" : text;
}

std::string& BudgetTable::cell(const Row& row, const std::string& budget) {
  if (std::ranges::find(budgets, budget) == budgets.end()) budgets.push_back(budget);
  return cells[row][budget];
}

std::string budget_table_text(const std::string& title, const BudgetTable& table) {
  std::string text = "| " + title + format(", %zu prompts |", table.prompts);
  std::string line = "|---|";
  for (const std::string& budget : table.budgets) {
    text += " " + budget + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const auto& [row, cells] : table.cells) {
    text += "| " + row.second + " |";
    for (const std::string& budget : table.budgets) {
      const auto cell = cells.find(budget);
      text += " " + (cell == cells.end() ? std::string() : cell->second) + " |";
    }
    text += "\n";
  }
  return text;
}

std::string table_mark(const std::string& variant) {
  const std::size_t at = variant.find(" decode_table=");
  return at == std::string::npos ? "" : variant.substr(at, variant.find(' ', at + 1) - at);
}

std::string short_label(std::string variant) {
  const std::string mark = table_mark(variant);
  if (!mark.empty()) variant.erase(variant.find(mark), mark.size());
  return variant;
}

bool is_rest_kv(const std::string& variant) { return variant.starts_with("rest-kv "); }

std::string suite_text(const std::string& suite, const std::string& model) {
  return suite + ", " + (model.ends_with(".gguf") ? model.substr(0, model.size() - 5) : model);
}

std::string findings_against_full(const ReportData& data, const FullScores& alone) {
  std::string too_hard;
  std::string rows;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite) continue;
    const std::string where = suite_text(entry.name, entry.model);
    const auto all = alone.find({entry.model, entry.name});
    const double mean = all == alone.end() ? entry.mean : all->second.mean();
    if (entry.variant == "full" && mean < kLeastFullScore) {
      too_hard += "- **" + where + "**: the full cache scores " + percent_text(mean) +
                  " %. The task is too hard for this model; nothing on it says anything about "
                  "caches.\n";
    }
    if (!is_rest_kv(entry.variant) || !entry.against_full) continue;
    const Comparison& comparison = *entry.against_full;
    rows += "| " + where + " | " + short_label(entry.variant) + " | " + percent_text(entry.mean) +
            " | " + difference_text(comparison, 1) + " | " + p_text(comparison.p_holm) +
            format(" | %zu |\n", comparison.pairs);
  }
  if (rows.empty()) return too_hard;
  return too_hard + (too_hard.empty() ? "" : "\n") +
         "| | variant | score | minus the full cache's, points (95 %) | p (Holm) | prompts |\n"
         "|---|---|---|---|---|---|\n" +
         rows;
}

std::string findings_between_methods(const ReportData& data) {
  std::vector<std::pair<std::string, BudgetTable>> tables;
  for (const MethodComparison& methods : data.summary.methods) {
    if (!is_rest_kv(methods.first) && !is_rest_kv(methods.second)) continue;
    if (is_rest_kv(methods.first) && is_rest_kv(methods.second) &&
        schedule_of(methods.first) == schedule_of(methods.second)) {
      continue;  // granularity has a table of its own
    }
    if (is_part_taken_out(methods.first) || is_part_taken_out(methods.second)) continue;
    if (methods.first.ends_with(kByQueryHead) || methods.second.ends_with(kByQueryHead)) continue;
    const std::string title = suite_text(methods.suite, methods.model);
    if (tables.empty() || tables.back().first != title) tables.emplace_back(title, BudgetTable{});
    add_to(tables.back().second, methods);
  }
  std::string text;
  for (const auto& [title, table] : tables) {
    text += (text.empty() ? "" : "\n") + budget_table_text(title, table);
  }
  if (text.empty()) return text;
  return "ReST-KV minus the other method, points (95 %), by budget.\n\n" + text;
}

std::string findings_of_granularity(const ReportData& data) {
  const auto mib_of = [&data](const MethodComparison& methods, const std::string& variant) {
    double bytes = 0;
    for (const SummaryEntry& entry : data.summary.entries) {
      const bool is_it = entry.level == SummaryLevel::kSuite && entry.model == methods.model &&
                         entry.name == methods.suite && entry.variant == variant;
      if (is_it) bytes = entry.bytes;
    }
    return mib_text(bytes);
  };
  std::string rows;
  for (const MethodComparison& methods : data.summary.methods) {
    const bool second = methods.second == methods.first + std::string(kByQueryHead);
    if (!second && methods.first != methods.second + std::string(kByQueryHead)) continue;
    const std::string& by_kv_head = second ? methods.first : methods.second;
    rows += "| " + suite_text(methods.suite, methods.model) + " | " + by_kv_head + " | " +
            mib_of(methods, by_kv_head) + " | " +
            mib_of(methods, by_kv_head + std::string(kByQueryHead)) + " | " +
            difference_text(methods.comparison, second ? -1 : 1) +
            format(" | %zu |\n", methods.comparison.pairs);
  }
  if (rows.empty()) return rows;
  return "A head has as many rows either way; the cache holds the rows of all its query heads.\n\n"
         "| | variant | MiB by KV head | by query head | by query head minus by KV head, points "
         "(95 %) | prompts |\n"
         "|---|---|---|---|---|---|\n" +
         rows;
}

}  // namespace restkv
