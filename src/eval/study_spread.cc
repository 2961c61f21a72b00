// What the study says about the variance of scores, and about ReST-KV and AB-Sparse where both read
// as many rows.

#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/spread_difference.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

// Of a comparison: the mean and three variances.
constexpr std::size_t kNumbers = 4;

// A row's way to treat the cache, by what was asked for.
struct WayOfReading {
  std::string policy;
  std::string kept;  // budget of the policy; empty for the full cache
  std::string read;  // budget of AB-Sparse; empty where everything is read
};
// What the study compares is each method with its own defaults.
bool is_way(const EvalRow& row, const WayOfReading& way) {
  const bool sparse = row.decode_attn == "ab-sparse";
  if (row.suite != "ruler" || row.policy != way.policy || sparse == way.read.empty()) return false;
  if (sparse && row.decode_budget != way.read) return false;
  if (way.policy == "full") return true;
  return row.budget == way.kept && is_rest_kv(row.variant) && !row.variant.ends_with(kByQueryHead);
}

std::vector<PairedScore> pairs_of(const ReportData& data, const std::string& model,
                                  const WayOfReading& first, const WayOfReading& second) {
  const auto prompt = [](const EvalRow& row) {
    return std::tuple(row.task, row.length, row.seed, row.sample);
  };
  std::map<decltype(prompt(data.rows.front())), double> others;
  for (const EvalRow& row : data.rows) {
    if (row.model == model && is_way(row, second)) others[prompt(row)] = row.score;
  }
  std::vector<PairedScore> pairs;
  for (const EvalRow& row : data.rows) {
    if (row.model != model || !is_way(row, first)) continue;
    const auto other = others.find(prompt(row));
    if (other == others.end()) continue;
    pairs.push_back({.task = row.task,
                     .length = static_cast<std::size_t>(row.length),
                     .seed = static_cast<std::uint64_t>(row.seed),
                     .first = row.score,
                     .second = other->second});
  }
  return pairs;
}

// In bold where its p-value, which has been corrected, tells it apart from 0.
std::string points(const std::optional<TestedInterval>& interval, double unit) {
  if (!interval) return "-";
  const int digits = unit == 100 ? 1 : 0;
  const std::string text =
      format("%+.*f (%+.*f to %+.*f)", digits, interval->estimate * unit + 0.0, digits,
             interval->low * unit + 0.0, digits, interval->high * unit + 0.0);
  return interval->p < 0.05 ? "**" + text + "**" : text;
}

// Holm's correction over all differences.
void correct(const std::vector<SpreadDifference*>& differences) {
  std::vector<TestedInterval*> tested;
  for (SpreadDifference* difference : differences) {
    tested.push_back(&difference->mean);
    for (auto* variance :
         {&difference->over_samples, &difference->over_tasks, &difference->over_lengths}) {
      if (*variance) tested.push_back(&**variance);
    }
  }
  std::vector<double> p;
  for (const TestedInterval* interval : tested) p.push_back(interval->p);
  const std::vector<double> corrected = holm(p);
  for (std::size_t i = 0; i < tested.size(); ++i) tested[i]->p = corrected[i];
}

std::string way_text(const WayOfReading& way) {
  if (way.policy == "full") return "AB-Sparse " + way.read;
  if (way.read.empty()) return "ReST-KV " + way.kept;
  return "ReST-KV " + way.kept + " + AB-Sparse " + way.read;
}

}  // namespace

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
            cell(spread.over_lengths) + " | " + cell(spread.over_samples) + " | " +
            cell(spread.sampling_noise) + " |\n";
  }
  if (text.empty()) return text;
  return "Variances in points squared. Noise: what the samples alone add to the first two; a "
         "variance that is not well above it says nothing.\n\n"
         "| | variant | mean | over tasks | over lengths | over samples | noise |\n"
         "|---|---|---|---|---|---|---|\n" +
         text;
}

std::string findings_at_equal_reading(const ReportData& data) {
  std::set<std::pair<std::string, std::string>> budgets;  // model, rows read
  for (const EvalRow& row : data.rows) {
    if (row.suite == "ruler" && row.decode_attn == "ab-sparse" && row.policy == "full") {
      budgets.emplace(row.model, row.decode_budget);
    }
  }
  struct Meeting {
    std::string name;  // the row's first two cells
    std::vector<PairedScore> pairs;
    SpreadDifference difference;
  };
  std::vector<Meeting> meetings;
  for (const auto& [model, budget] : budgets) {
    char* end = nullptr;
    const unsigned long rows = std::strtoul(budget.c_str(), &end, 10);
    if (*end != '\0') continue;  // in percent, of different things
    const WayOfReading kept{.policy = "rest-kv", .kept = budget, .read = ""};
    const WayOfReading read{.policy = "full", .kept = "", .read = budget};
    const WayOfReading both{.policy = "rest-kv", .kept = std::to_string(2 * rows), .read = budget};
    for (const auto& [first, second] :
         {std::pair(kept, read), std::pair(both, kept), std::pair(both, read)}) {
      std::vector<PairedScore> pairs = pairs_of(data, model, first, second);
      if (pairs.empty()) continue;
      meetings.push_back({.name = "| " + suite_text("ruler", model) + " | " + way_text(first) +
                                  " - " + way_text(second),
                          .pairs = std::move(pairs),
                          .difference = {}});
    }
  }
  std::vector<SpreadDifference*> differences;
  for (Meeting& meeting : meetings) {
    auto found = spread_difference(meeting.pairs, {.comparisons = kNumbers * meetings.size()});
    if (!found.ok()) continue;
    meeting.difference = *std::move(found);
    differences.push_back(&meeting.difference);
  }
  correct(differences);
  std::string text;
  for (const auto& [name, pairs, found] : meetings) {
    if (found.pairs == 0) continue;
    text += name + " | " + points(found.mean, 100) + " | " + points(found.over_tasks, 1e4) + " | " +
            points(found.over_samples, 1e4) + " | " + points(found.over_lengths, 1e4) +
            format(" | %zu |\n", found.pairs);
  }
  if (text.empty()) return text;
  return "First minus second, with 95 % bootstrap intervals over the samples of each task; means "
         "in points, variances in points squared. p-values, of flipped signs for means and of the "
         "bootstrap for variances, are corrected over all numbers of this table.\n\n"
         "| | | mean | variance over tasks | over samples | over lengths | prompts |\n"
         "|---|---|---|---|---|---|---|\n" +
         text;
}

}  // namespace restkv
