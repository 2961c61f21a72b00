// What the study's results allow us to say.

#include <algorithm>
#include <cstdio>
#include <optional>

#include "eval/report/report_pictures.h"
#include "eval/report/report_tables.h"
#include "eval/study.h"

namespace restkv {
namespace {

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

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

bool is_rest_kv(const std::string& variant) {
  return variant.starts_with("rest-kv ");  // with its default options
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
    text += "- " + suite_text(methods.suite, methods.model) + ": " + methods.first + " against " +
            methods.second + ": " + verdict(methods.comparison) + ", " +
            interval_text(methods.comparison) + ".\n";
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
  section("Variance of RULER scores", findings_of_spread(data));
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
