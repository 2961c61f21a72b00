// What the study says about the variance of scores.

#include <optional>
#include <string>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/study_findings.h"

namespace restkv {

std::string findings_of_spread(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite || entry.name != "ruler") continue;
    const ScoreSpread& spread = entry.spread;
    if (!spread.over_tasks) continue;
    const auto cell = [](const std::optional<double>& variance) {
      return variance ? format("%.0f", *variance * 1e4) : std::string("-");
    };
    text += "| " + suite_text(entry.name, entry.model) + " | " + short_label(entry.variant) +
            " | " + percent_text(entry.mean) + " | " + cell(spread.over_tasks) + " | " +
            cell(spread.over_lengths) + " | " + cell(spread.over_seeds) + " | " +
            cell(spread.over_samples) + " | " + cell(spread.sampling_noise) + " |\n";
  }
  if (text.empty()) return text;
  return "Variances in points squared. Noise: what the samples alone add to the first three; a "
         "variance that is not well above it says nothing.\n\n"
         "| | variant | mean | over tasks | over lengths | over seeds | over samples | noise |\n"
         "|---|---|---|---|---|---|---|---|\n" +
         text;
}

}  // namespace restkv
