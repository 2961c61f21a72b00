// What the study says about ReST-KV and AB-Sparse, alone and together, where a step of both reads
// about as much.

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

// Of a comparison: the mean and four variances.
constexpr std::size_t kNumbers = 5;

using Rows = std::vector<const EvalRow*>;
using BudgetByLength = std::map<std::int64_t, std::string>;

// A way to treat the cache, by what was asked for.
struct WayOfReading {
  std::string policy;
  BudgetByLength kept;           // budget of the policy at each length; empty for the full cache
  std::string read;              // budget of AB-Sparse; empty where everything is read
  std::string table = {};        // mark of its block sizes in the variant's name; empty without
  std::string shown_table = {};  // the mark again, where a model has several
  std::optional<StepReading> reading = {};
};
// What the study compares is each method with its own defaults.
bool is_way(const EvalRow& row, const WayOfReading& way) {
  const bool sparse = row.decode_attn == "ab-sparse";
  if (row.policy != way.policy || sparse == way.read.empty()) return false;
  if (sparse && (row.decode_budget != way.read || table_mark(row.variant) != way.table)) {
    return false;
  }
  if (way.policy == "full") return true;
  const auto kept = way.kept.find(row.length);
  return kept != way.kept.end() && row.budget == kept->second && is_rest_kv(row.variant) &&
         !row.variant.ends_with(kByQueryHead);
}

// `length` 0: all of them.
std::optional<StepReading> reading_of(const Rows& rows, const WayOfReading& way,
                                      std::int64_t length = 0) {
  Rows own;
  for (const EvalRow* row : rows) {
    if (is_way(*row, way) && (length == 0 || row->length == length)) own.push_back(row);
  }
  return mean_reading(own);
}

// How far the two are apart; where neither was measured, those of one number are the nearest.
double distance(const std::optional<StepReading>& a, const std::optional<StepReading>& b,
                bool same_number) {
  if (a && b) return std::abs(std::log(a->bytes / b->bytes));
  return !a && !b && same_number ? 0 : 1e9;
}

// A whole number of rows; 0 for shares of different things.
unsigned long number(const std::string& budget) {
  char* end = nullptr;
  const unsigned long rows = std::strtoul(budget.c_str(), &end, 10);
  return *end == '\0' ? rows : 0;
}

// One model's rows of RULER, and the ways that they have, each with what it reads.
struct WaysOfModel {
  Rows rows;
  std::map<std::int64_t, std::set<unsigned long>> kept;  // ReST-KV's budgets by length
  std::vector<WayOfReading> read;
  std::vector<WayOfReading> both;
};
WaysOfModel ways_of(Rows rows) {
  // In the order of their numbers; with the table of AB-Sparse.
  std::set<std::tuple<unsigned long, std::string, std::string>> budgets;
  std::set<std::string> tables;
  WaysOfModel ways;
  for (const EvalRow* row : rows) {
    const bool sparse = row->decode_attn == "ab-sparse";
    if (sparse && row->policy == "full" && number(row->decode_budget) > 0) {
      budgets.emplace(number(row->decode_budget), row->decode_budget, table_mark(row->variant));
      tables.insert(table_mark(row->variant));
    } else if (!sparse && number(row->budget) > 0 && is_rest_kv(row->variant) &&
               !row->variant.ends_with(kByQueryHead)) {
      ways.kept[row->length].insert(number(row->budget));
    }
  }
  for (const auto& [number, budget, table] : budgets) {
    WayOfReading way{.policy = "full", .kept = {}, .read = budget, .table = table};
    if (tables.size() > 1) way.shown_table = table.empty() ? " without a table" : table;
    way.reading = reading_of(rows, way);
    ways.read.push_back(way);
    way.policy = "rest-kv";
    for (const auto& entry : ways.kept) way.kept[entry.first] = std::to_string(2 * number);
    way.reading = reading_of(rows, way);
    ways.both.push_back(std::move(way));
  }
  ways.rows = std::move(rows);
  return ways;
}

// ReST-KV at the budgets whose steps read as much as those of `way`, or nearly, at each length. Of
// those that read as much to kEqualBytes, that which was asked most; else the nearest.
WayOfReading kept_nearest(const WaysOfModel& ways, const WayOfReading& way) {
  WayOfReading nearest{.policy = "rest-kv", .kept = {}, .read = ""};
  for (const auto& [length, budgets] : ways.kept) {
    const std::optional<StepReading> wanted = reading_of(ways.rows, way, length);
    std::tuple<double, std::ptrdiff_t, double> best;  // too far apart by, -prompts, apart by
    for (const unsigned long budget : budgets) {
      const std::string text = std::to_string(budget);
      const WayOfReading one{.policy = "rest-kv", .kept = {{length, text}}, .read = ""};
      const double apart = distance(reading_of(ways.rows, one, length), wanted, text == way.read);
      const std::ptrdiff_t prompts = std::ranges::count_if(ways.rows, [&](const EvalRow* row) {
        return row->length == length && is_way(*row, one);
      });
      const std::tuple found(apart <= kEqualBytes ? 0 : apart, -prompts, apart);
      if (nearest.kept.contains(length) && found >= best) continue;
      nearest.kept[length] = text;
      best = found;
    }
  }
  nearest.reading = reading_of(ways.rows, nearest);
  return nearest;
}

const WayOfReading& nearest(const std::vector<WayOfReading>& ways, const WayOfReading& way) {
  return *std::ranges::min_element(ways, {}, [&](const WayOfReading& other) {
    return distance(other.reading, way.reading, other.read == way.read);
  });
}

std::vector<PairedScore> pairs_of(const Rows& rows, const WayOfReading& first,
                                  const WayOfReading& second) {
  std::map<PromptKey, double> others;
  for (const EvalRow* row : rows) {
    if (is_way(*row, second)) others[prompt_key(*row)] = row->score;
  }
  std::vector<PairedScore> pairs;
  for (const EvalRow* row : rows) {
    if (!is_way(*row, first)) continue;
    const auto other = others.find(prompt_key(*row));
    if (other == others.end()) continue;
    pairs.push_back({.task = row->task,
                     .length = static_cast<std::size_t>(row->length),
                     .seed = static_cast<std::uint64_t>(row->seed),
                     .first = row->score,
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
    for (auto* variance : {&difference->over_samples, &difference->over_tasks,
                           &difference->over_lengths, &difference->over_seeds}) {
      if (*variance) tested.push_back(&**variance);
    }
  }
  std::vector<double> p;
  for (const TestedInterval* interval : tested) p.push_back(interval->p);
  const std::vector<double> corrected = holm(p);
  for (std::size_t i = 0; i < tested.size(); ++i) tested[i]->p = corrected[i];
}

// "256", or "345 at 2048, 461 at 4096" where lengths differ.
std::string budgets_text(const BudgetByLength& kept) {
  const bool one = std::ranges::all_of(
      kept, [&](const auto& entry) { return entry.second == kept.begin()->second; });
  if (one) return kept.begin()->second;
  std::string text;
  for (const auto& [length, budget] : kept) {
    text +=
        (text.empty() ? "" : ", ") + budget + format(" at %lld", static_cast<long long>(length));
  }
  return text;
}

std::string way_text(const WayOfReading& way) {
  std::string what = way.policy == "full"
                         ? "AB-Sparse " + way.read
                         : "ReST-KV " + budgets_text(way.kept) +
                               (way.read.empty() ? std::string() : " + AB-Sparse " + way.read);
  what += way.shown_table;
  if (!way.reading) return what;
  return what + format(" (%.0f rows, ", way.reading->rows) + mib_text(way.reading->bytes) + " MiB)";
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
std::vector<Meeting> meetings_of(const ReportData& data, const ReportData* more) {
  std::map<std::string, Rows> models;  // by fingerprint
  for (const ReportData* one : {&data, more}) {
    if (one == nullptr) continue;
    for (const EvalRow& row : one->rows) {
      if (row.suite == "ruler") models[row.fingerprint].push_back(&row);
    }
  }
  std::vector<Meeting> meetings;
  for (auto& entry : models) {
    const WaysOfModel ways = ways_of(std::move(entry.second));
    if (ways.kept.empty() || ways.read.empty()) continue;
    const auto meet = [&](const WayOfReading& first, const WayOfReading& second) {
      std::vector<PairedScore> pairs = pairs_of(ways.rows, first, second);
      if (pairs.empty()) return;
      meetings.push_back({.where = suite_text("ruler", ways.rows.front()->model),
                          .first = first,
                          .second = second,
                          .pairs = std::move(pairs),
                          .difference = {}});
    };
    for (const WayOfReading& read : ways.read) meet(kept_nearest(ways, read), read);
    for (const WayOfReading& both : ways.both) {
      meet(both, kept_nearest(ways, both));
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
            points(found.over_lengths, 1e4) + " | " + points(found.over_seeds, 1e4) +
            format(" | %zu |\n", found.pairs);
  }
  if (text.empty()) return text;
  return "AB-Sparse reads more bytes than its budget's rows have: two layers whole, and summaries. "
         "So ReST-KV meets it, and both together, at the budgets, for each length, whose steps "
         "read about as many bytes, as far as there are such; both together meet the AB-Sparse "
         "that "
         "is nearest, which reads more. Rows of a KV head and layer, and the bytes that a step "
         "reads of the cache with the blocks' summaries, stand behind the names. First minus "
         "second, with 95 % "
         "bootstrap intervals over the samples of each task; means in points, variances in points "
         "squared. p-values, of flipped signs for means and of the bootstrap for variances, are "
         "corrected over all numbers of this table.\n\n"
         "| | | mean | variance over tasks | over samples | over lengths | over seeds | prompts |\n"
         "|---|---|---|---|---|---|---|---|\n" +
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
                                   told_difference(found.over_lengths, "lengths"),
                                   told_difference(found.over_seeds, "seeds")}) {
      if (!one.empty()) spreads += "; " + one;
    }
    text += (spreads.empty() ? "; no variance is told apart" : spreads) + ".\n";
  }
  return text;
}

}  // namespace

EqualReading findings_at_equal_reading(const ReportData& data, const ReportData* more) {
  const std::vector<Meeting> meetings = meetings_of(data, more);
  return {.in_short = lines_of(meetings), .table = table_of(meetings)};
}

}  // namespace restkv
