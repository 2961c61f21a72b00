// What the study says about the variance of scores, and about ReST-KV and AB-Sparse where a step of
// both reads about as much.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
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

// Of a comparison: the mean and three variances.
constexpr std::size_t kNumbers = 4;

// A row's way to treat the cache, by what was asked for.
struct WayOfReading {
  std::string policy;
  std::string kept;        // budget of the policy; empty for the full cache
  std::string read;        // budget of AB-Sparse; empty where everything is read
  std::string table = {};  // mark of its block sizes in the variant's name; empty without
  std::optional<StepReading> reading;
  std::string shown_table = {};  // the mark again, where a model has several
};
// What the study compares is each method with its own defaults.
bool is_way(const EvalRow& row, const WayOfReading& way) {
  const bool sparse = row.decode_attn == "ab-sparse";
  if (row.suite != "ruler" || row.policy != way.policy || sparse == way.read.empty()) return false;
  if (sparse && (row.decode_budget != way.read || table_mark(row.variant) != way.table)) {
    return false;
  }
  if (way.policy == "full") return true;
  return row.budget == way.kept && is_rest_kv(row.variant) && !row.variant.ends_with(kByQueryHead);
}

WayOfReading measured(const ReportData& data, const std::string& model, WayOfReading way) {
  std::vector<const EvalRow*> rows;
  for (const EvalRow& row : data.rows) {
    if (row.model == model && is_way(row, way)) rows.push_back(&row);
  }
  way.reading = mean_reading(rows);
  return way;
}

// The one of `ways` whose step reads as much as that of `way`, or nearly; where nothing was
// measured, the one of the same number.
const WayOfReading& nearest(const std::vector<WayOfReading>& ways, const WayOfReading& way) {
  const auto distance = [&](const WayOfReading& other) {
    if (way.reading && other.reading) {
      return std::abs(std::log(other.reading->bytes / way.reading->bytes));
    }
    const std::string& number = other.read.empty() ? other.kept : other.read;
    return number == way.read ? 0.0 : 1e9;
  };
  return *std::ranges::min_element(ways, {}, distance);
}

std::vector<PairedScore> pairs_of(const ReportData& data, const std::string& model,
                                  const WayOfReading& first, const WayOfReading& second) {
  std::map<PromptKey, double> others;
  for (const EvalRow& row : data.rows) {
    if (row.model == model && is_way(row, second)) others[prompt_key(row)] = row.score;
  }
  std::vector<PairedScore> pairs;
  for (const EvalRow& row : data.rows) {
    if (row.model != model || !is_way(row, first)) continue;
    const auto other = others.find(prompt_key(row));
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
  std::string what =
      way.policy == "full"
          ? "AB-Sparse " + way.read
          : "ReST-KV " + way.kept + (way.read.empty() ? std::string() : " + AB-Sparse " + way.read);
  what += way.shown_table;
  if (!way.reading) return what;
  return what + format(" (%.0f rows, ", way.reading->rows) + mib_text(way.reading->bytes) + " MiB)";
}

// The ways that a model's rows have, each with what it reads.
struct WaysOfModel {
  std::vector<WayOfReading> kept;
  std::vector<WayOfReading> read;
  std::vector<WayOfReading> both;
};
WaysOfModel ways_of(const ReportData& data, const std::string& model) {
  // In the order of their numbers; with the table of AB-Sparse.
  std::set<std::tuple<unsigned long, std::string, std::string>> budgets;
  std::set<std::string> tables;
  std::set<std::pair<unsigned long, std::string>> kept;
  const auto number = [](const std::string& budget) {
    char* end = nullptr;
    const unsigned long rows = std::strtoul(budget.c_str(), &end, 10);
    return *end == '\0' ? rows : 0;  // in percent, of different things
  };
  for (const EvalRow& row : data.rows) {
    if (row.model != model || row.suite != "ruler") continue;
    const bool sparse = row.decode_attn == "ab-sparse";
    if (sparse && row.policy == "full" && number(row.decode_budget) > 0) {
      budgets.emplace(number(row.decode_budget), row.decode_budget, table_mark(row.variant));
      tables.insert(table_mark(row.variant));
    } else if (!sparse && row.policy == "rest-kv" && number(row.budget) > 0) {
      kept.emplace(number(row.budget), row.budget);
    }
  }
  WaysOfModel ways;
  for (const auto& [rows, budget] : kept) {
    ways.kept.push_back(
        measured(data, model, {.policy = "rest-kv", .kept = budget, .read = "", .reading = {}}));
  }
  for (const auto& [rows, budget, table] : budgets) {
    WayOfReading way{.policy = "full", .kept = "", .read = budget, .table = table, .reading = {}};
    if (tables.size() > 1) way.shown_table = table.empty() ? " without a table" : table;
    ways.read.push_back(measured(data, model, way));
    way.policy = "rest-kv";
    way.kept = std::to_string(2 * rows);
    ways.both.push_back(measured(data, model, way));
  }
  return ways;
}

// Two ways on the prompts of both; `difference` has no pairs where it could not be taken.
struct Meeting {
  std::string where;  // suite and model
  WayOfReading first;
  WayOfReading second;
  std::vector<PairedScore> pairs;
  SpreadDifference difference;
};

// Corrected for one another.
std::vector<Meeting> meetings_of(const ReportData& data) {
  std::set<std::string> models;
  for (const EvalRow& row : data.rows) models.insert(row.model);
  std::vector<Meeting> meetings;
  for (const std::string& model : models) {
    const WaysOfModel ways = ways_of(data, model);
    if (ways.kept.empty() || ways.read.empty()) continue;
    const auto meet = [&](const WayOfReading& first, const WayOfReading& second) {
      std::vector<PairedScore> pairs = pairs_of(data, model, first, second);
      if (pairs.empty()) return;
      meetings.push_back({.where = suite_text("ruler", model),
                          .first = first,
                          .second = second,
                          .pairs = std::move(pairs),
                          .difference = {}});
    };
    for (const WayOfReading& read : ways.read) meet(nearest(ways.kept, read), read);
    for (const WayOfReading& both : ways.both) {
      meet(both, nearest(ways.kept, both));
      meet(both, nearest(ways.read, both));
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
  return meetings;
}

// "smaller by 632 points squared (872 to 359)", or nothing where it is not told apart.
std::string told_difference(const std::optional<TestedInterval>& interval, const char* what) {
  if (!interval || interval->p >= 0.05) return "";
  const bool less = interval->estimate < 0;
  const double sign = less ? -1e4 : 1e4;
  const auto [low, high] = std::minmax({interval->low * sign, interval->high * sign});
  return format("its variance over %s is %s by %.0f points squared (%.0f to %.0f)", what,
                less ? "smaller" : "larger", interval->estimate * sign, low, high);
}

std::string table_of(const std::vector<Meeting>& meetings) {
  std::string text;
  for (const Meeting& meeting : meetings) {
    const SpreadDifference& found = meeting.difference;
    if (found.pairs == 0) continue;
    text += "| " + meeting.where + " | " + way_text(meeting.first) + " - " +
            way_text(meeting.second) + " | " + points(found.mean, 100) + " | " +
            points(found.over_tasks, 1e4) + " | " + points(found.over_samples, 1e4) + " | " +
            points(found.over_lengths, 1e4) + format(" | %zu |\n", found.pairs);
  }
  if (text.empty()) return text;
  return "Each meets the other at the budget whose step reads the nearest number of bytes: rows of "
         "a "
         "KV head and layer, and all bytes of the cache with the blocks' summaries, stand behind "
         "the names. First minus second, with 95 % bootstrap intervals over the samples of each "
         "task; means in points, variances in points squared. p-values, of flipped signs for means "
         "and of the bootstrap for variances, are corrected over all numbers of this table.\n\n"
         "| | | mean | variance over tasks | over samples | over lengths | prompts |\n"
         "|---|---|---|---|---|---|---|\n" +
         text;
}

std::string lines_of(const std::vector<Meeting>& meetings) {
  std::string text;
  for (const Meeting& meeting : meetings) {
    const bool alone = meeting.first.read.empty() && meeting.second.policy == "full";
    if (!alone || meeting.difference.pairs == 0) continue;
    const SpreadDifference& found = meeting.difference;
    text += "- **" + meeting.where + "**, " + way_text(meeting.first) + " beside " +
            way_text(meeting.second) + ": " +
            format("%+.1f points", found.mean.estimate * 100 + 0.0) +
            (found.mean.p < 0.05 ? "" : " (not told apart)");
    std::string spreads;
    for (const std::string& one : {told_difference(found.over_samples, "samples"),
                                   told_difference(found.over_tasks, "tasks"),
                                   told_difference(found.over_lengths, "lengths")}) {
      if (!one.empty()) spreads += "; " + one;
    }
    text += (spreads.empty() ? "; no variance is told apart" : spreads) + ".\n";
  }
  return text;
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

EqualReading findings_at_equal_reading(const ReportData& data) {
  const std::vector<Meeting> meetings = meetings_of(data);
  return {.in_short = lines_of(meetings), .table = table_of(meetings)};
}

}  // namespace restkv
