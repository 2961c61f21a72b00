// The study's answers in a few lines.

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

// ReST-KV as it is by default, applied once.
bool is_plain(const SummaryEntry& entry) {
  return entry.level == SummaryLevel::kSuite && entry.variant == "rest-kv " + entry.budget;
}

// Names of methods by how ReST-KV stands beside them.
struct Standing {
  std::vector<std::string> better_than, worse_than, not_told_apart_from;
};

// A method with a schedule of its own, or ReST-KV in another form, has tables of its own.
bool is_other_method(const std::string& variant) {
  return !variant.starts_with("rest-kv") && variant.find("schedule=") == std::string::npos;
}

Standing standing_of(const ReportData& data, const SummaryEntry& own) {
  Standing standing;
  for (const MethodComparison& methods : data.summary.methods) {
    if (methods.model != own.model || methods.suite != own.name) continue;
    const bool first = methods.first == own.variant;
    if (!first && methods.second != own.variant) continue;
    std::string other = short_label(first ? methods.second : methods.first);
    if (!is_other_method(other)) continue;
    if (const std::size_t at = other.find(" " + own.budget); at != std::string::npos) {
      other.erase(at, own.budget.size() + 1);
    }
    const double difference = methods.comparison.difference.estimate * (first ? 1 : -1);
    (!is_told_apart(methods.comparison) ? standing.not_told_apart_from
     : difference > 0                   ? standing.better_than
                                        : standing.worse_than)
        .push_back("`" + std::move(other) + "`");
  }
  return standing;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string beside_full(const SummaryEntry& own) {
  if (!own.against_full) return "";
  const Comparison& comparison = *own.against_full;
  return format(", %+.1f from the full cache's", comparison.difference.estimate * 100 + 0.0) +
         (is_told_apart(comparison) ? "" : " (not told apart)");
}

}  // namespace

std::string findings_in_short(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (!is_plain(entry)) continue;
    text += "- **" + suite_text(entry.name, entry.model) + "**, ReST-KV " + entry.budget + ": " +
            percent_text(entry.mean) + format(" %% of %zu prompts", entry.samples) +
            beside_full(entry);
    const Standing standing = standing_of(data, entry);
    for (const auto& [what, names] :
         std::array<std::pair<const char*, const std::vector<std::string>*>, 3>{
             {{"better than", &standing.better_than},
              {"worse than", &standing.worse_than},
              {"not told apart from", &standing.not_told_apart_from}}}) {
      if (!names->empty()) text += std::string("; ") + what + " " + list_of(*names);
    }
    text += ".\n";
  }
  return text;
}

}  // namespace restkv
