// What the study's results allow us to say.

#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "eval/report/report_pictures.h"
#include "eval/report/report_tables.h"
#include "eval/spread_difference.h"
#include "eval/study.h"

namespace restkv {
namespace {

// Higher, lower, or not told apart, by the corrected p-value.
const char* verdict(const Comparison& comparison) {
  if (comparison.p_holm >= 0.05) return "not told apart";
  return comparison.difference.estimate > 0 ? "higher" : "lower";
}

std::string interval_text(const Comparison& comparison) {
  const Interval& interval = comparison.difference;
  return format("%+.1f points (%+.1f to %+.1f, p Holm ", interval.estimate * 100,
                interval.low * 100, interval.high * 100) +
         p_text(comparison.p_holm) + format(", %zu prompts)", comparison.pairs);
}

constexpr std::string_view kByQueryHead = " granularity=query-head";

bool is_rest_kv(const std::string& variant) {
  return variant.starts_with("rest-kv ");  // with its default options
}

// One keeps rows for each query head, and they differ in nothing else.
bool differ_in_granularity(const std::string& first, const std::string& second) {
  return first == second + std::string(kByQueryHead) || second == first + std::string(kByQueryHead);
}

// "gsm8k on model.gguf".
std::string suite_text(const std::string& suite, const std::string& model) {
  return suite + " on " + model;
}

std::string findings_against_full(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite) continue;
    const std::string where = suite_text(entry.name, entry.model);
    if (entry.variant == "full" && entry.mean < kLeastFullScore) {
      text += "- **" + where + "**: the full cache scores " + percent_text(entry.mean) +
              " %. The task is too hard for this model; nothing on it says anything about "
              "caches.\n";
    }
    if (!is_rest_kv(entry.variant) || !entry.against_full) continue;
    text += "- " + where + ": " + entry.variant +
            " against the full cache: " + verdict(*entry.against_full) + ", " +
            interval_text(*entry.against_full) + ".\n";
  }
  return text;
}

std::string findings_between_methods(const ReportData& data) {
  std::string text;
  for (const MethodComparison& methods : data.summary.methods) {
    if (!is_rest_kv(methods.first) && !is_rest_kv(methods.second)) continue;
    if (methods.first.ends_with(kByQueryHead) || methods.second.ends_with(kByQueryHead)) continue;
    text += "- " + suite_text(methods.suite, methods.model) + ": " + methods.first + " against " +
            methods.second + ": " + verdict(methods.comparison) + ", " +
            interval_text(methods.comparison) + ".\n";
  }
  return text;
}

// The rows of a head are as many; in memory they are not.
std::string findings_of_granularity(const ReportData& data) {
  const auto bytes_of = [&data](const MethodComparison& methods, const std::string& variant) {
    double bytes = 0;
    for (const SummaryEntry& entry : data.summary.entries) {
      const bool is_it = entry.level == SummaryLevel::kSuite && entry.model == methods.model &&
                         entry.name == methods.suite && entry.variant == variant;
      if (is_it) bytes = entry.bytes;
    }
    return variant + format(" (%.2f MiB)", bytes / (1024.0 * 1024.0));
  };
  std::string text;
  for (const MethodComparison& methods : data.summary.methods) {
    if (!differ_in_granularity(methods.first, methods.second)) continue;
    text += "- " + suite_text(methods.suite, methods.model) + ": " +
            bytes_of(methods, methods.first) + " against " + bytes_of(methods, methods.second) +
            ": " + verdict(methods.comparison) + ", " + interval_text(methods.comparison) + ".\n";
  }
  return text;
}

std::string findings_of_spread(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite || entry.name != "ruler") continue;
    const ScoreSpread& spread = entry.spread;
    if (!spread.over_tasks) continue;
    const auto cell = [](const std::optional<double>& variance) {
      return variance ? format("%.0f", *variance * 1e4) : std::string("-");
    };
    text += "| " + entry.variant + " | " + percent_text(entry.mean) + " | " +
            cell(spread.over_tasks) + " | " + cell(spread.over_lengths) + " | " +
            cell(spread.over_samples) + " | " + cell(spread.sampling_noise) + " |\n";
  }
  if (text.empty()) return text;
  return "Variances in points squared. Noise: what the samples alone add to the first two; a "
         "variance that is not well above it says nothing.\n\n"
         "| variant | mean | over tasks | over lengths | over samples | noise |\n"
         "|---|---|---|---|---|---|\n" +
         text;
}

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

std::string points(const std::optional<Interval>& interval, double unit) {
  if (!interval) return "-";
  return format("%+.*f (%+.*f to %+.*f)", unit == 100 ? 1 : 0, interval->estimate * unit,
                unit == 100 ? 1 : 0, interval->low * unit, unit == 100 ? 1 : 0,
                interval->high * unit);
}

std::string way_text(const WayOfReading& way) {
  if (way.policy == "full") return "AB-Sparse " + way.read;
  if (way.read.empty()) return "ReST-KV " + way.kept;
  return "ReST-KV " + way.kept + " + AB-Sparse " + way.read;
}

// ReST-KV and AB-Sparse at the same number of rows read, alone and together.
std::string findings_at_equal_reading(const ReportData& data) {
  std::set<std::pair<std::string, std::string>> budgets;  // model, rows read
  for (const EvalRow& row : data.rows) {
    if (row.suite == "ruler" && row.decode_attn == "ab-sparse" && row.policy == "full") {
      budgets.emplace(row.model, row.decode_budget);
    }
  }
  std::string text;
  for (const auto& [model, budget] : budgets) {
    char* end = nullptr;
    const unsigned long rows = std::strtoul(budget.c_str(), &end, 10);
    if (*end != '\0') continue;  // in percent, of different things
    const WayOfReading kept{.policy = "rest-kv", .kept = budget, .read = ""};
    const WayOfReading read{.policy = "full", .kept = "", .read = budget};
    const WayOfReading both{.policy = "rest-kv", .kept = std::to_string(2 * rows), .read = budget};
    for (const auto& [first, second] :
         {std::pair(kept, read), std::pair(both, kept), std::pair(both, read)}) {
      const auto found = spread_difference(pairs_of(data, model, first, second), {});
      if (!found.ok()) continue;
      text += "| " + model + " | " + way_text(first) + " - " + way_text(second) + " | " +
              points(found->mean, 100) + " | " + points(found->over_tasks, 1e4) + " | " +
              points(found->over_samples, 1e4) + " | " + points(found->over_lengths, 1e4) +
              format(" | %zu |\n", found->pairs);
    }
  }
  if (text.empty()) return text;
  return "First minus second, with 95 % bootstrap intervals over the samples of each task; means "
         "in "
         "points, variances in points squared. An interval that holds 0 does not tell the two "
         "apart.\n\n"
         "| model | | mean | variance over tasks | over samples | over lengths | prompts |\n"
         "|---|---|---|---|---|---|---|\n" +
         text;
}

// "study-ruler-model.svg"
std::string picture_name(const std::string& suite, const std::string& model) {
  return "study-" + suite + "-" + model.substr(0, model.rfind('.')) + ".svg";
}

template <class Body>
void for_each_suite(const ReportData& data, const Body& body) {
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level == SummaryLevel::kSuite && entry.variant == "full") body(entry);
  }
}

std::string pictures_text(const ReportData& data) {
  std::string text;
  for_each_suite(data, [&](const SummaryEntry& entry) {
    if (budget_curves_svg(data, entry.model, entry.name).empty()) return;
    text += "![" + suite_text(entry.name, entry.model) + "](" +
            picture_name(entry.name, entry.model) + ")\n\n";
  });
  return text;
}

// Without its title.
std::string figures_of(const ReportData& data) {
  const std::string report = report_markdown(data);
  return report.substr(report.find("\n\n") + 2);
}

}  // namespace

std::string study_markdown(const StudyResults& results) {
  const ReportData& data = results.prompts;
  std::string text =
      "# Does ReST-KV carry over to arithmetic, and how much do RULER scores vary?\n\n"
      "Made by `" +
      results.command +
      "`. Every method saw the same prompts; a difference counts only when its p-value, corrected "
      "for all comparisons of its kind by Holm's method, is below 0.05. \"Not told apart\" means "
      "that these samples do not decide, not that two methods are equally good.\n\n"
      "## What the figures allow us to say\n\n";
  const auto section = [&text](const char* title, const std::string& findings) {
    if (!findings.empty()) text += "### " + std::string(title) + "\n\n" + findings + "\n";
  };
  section("ReST-KV against the full cache", findings_against_full(data));
  section("ReST-KV against other methods at the same budget", findings_between_methods(data));
  section("Rows of each KV head against rows of each query head, as many for a head",
          findings_of_granularity(data));
  section("Variance of RULER scores", findings_of_spread(data));
  section("ReST-KV and AB-Sparse at the same number of rows read: means and variances",
          findings_at_equal_reading(data));
  if (results.plain != nullptr) {
    section("Without a chat template, whose end otherwise stands in the observation window",
            findings_against_full(*results.plain) + findings_between_methods(*results.plain));
  }
  text += "## All figures\n\n" + pictures_text(data) + figures_of(data);
  if (results.plain != nullptr) {
    text += "\n## All figures without a chat template\n\n" + figures_of(*results.plain);
  }
  return text;
}

std::map<std::string, std::string> study_pictures(const ReportData& data) {
  std::map<std::string, std::string> pictures;
  for_each_suite(data, [&](const SummaryEntry& entry) {
    std::string picture = budget_curves_svg(data, entry.model, entry.name);
    if (!picture.empty()) {
      pictures.emplace(picture_name(entry.name, entry.model), std::move(picture));
    }
  });
  return pictures;
}

}  // namespace restkv
