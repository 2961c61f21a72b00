// The study's text: what its results allow us to say, and all its figures.

#include <algorithm>
#include <cstdint>
#include <map>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "eval/report/report_pictures.h"
#include "eval/study.h"
#include "eval/study_findings.h"

namespace restkv {
namespace {

// "study-ruler-model.svg", or "study-ruler-model-1a2b3c4d.svg" where several have the name.
std::string picture_name(const std::string& suite, std::string model) {
  constexpr std::string_view kEnding = ".gguf";
  if (const auto at = model.rfind(kEnding); at != std::string::npos) {
    model.erase(at, kEnding.size());
  }
  std::ranges::replace(model, ' ', '-');  // it stands in a link
  return "study-" + suite + "-" + model + ".svg";
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

std::string left_out_text(const StudyResults& results) {
  if (results.left_out == 0) return "";
  return format("%zu prompts that not every method has answered are left out.\n\n",
                results.left_out);
}

// "10", or "3 to 10" where tasks differ.
std::string samples_of_task(const std::map<std::string, std::size_t>& by_task) {
  const auto [least, most] = std::ranges::minmax(by_task | std::views::values);
  return least == most ? format("%zu", least) : format("%zu to %zu", least, most);
}

// Where a suite has not as many samples at every length and under every seed: several commands may
// have gone on in one database.
std::string samples_text(const ReportData& data) {
  using Cell = std::pair<std::int64_t, std::int64_t>;  // length, seed
  std::map<std::string, std::map<Cell, std::map<std::string, std::size_t>>> suites;
  for (const EvalRow& row : data.rows) {
    if (row.variant != "full") continue;
    ++suites[suite_text(row.suite, row.model)][{row.length, row.seed}][row.task];
  }
  std::string text;
  for (const auto& [suite, cells] : suites) {
    std::string listed;
    std::set<std::string> numbers;
    for (const auto& [cell, by_task] : cells) {
      numbers.insert(samples_of_task(by_task));
      listed += (listed.empty() ? "" : ", ") + samples_of_task(by_task) +
                format(" of %lld tokens under seed %lld", static_cast<long long>(cell.first),
                       static_cast<long long>(cell.second));
    }
    if (numbers.size() > 1) text += "Samples of each task of " + suite + ": " + listed + ".\n\n";
  }
  return text;
}

// Without its title.
std::string figures_of(const ReportData& data) {
  const std::string report = report_markdown(data);
  return report.substr(report.find("\n\n") + 2);
}

}  // namespace

std::string study_markdown(const StudyResults& results) {
  const ReportData data = for_the_question(results.prompts);
  std::string text =
      "# Does ReST-KV carry over to arithmetic, and how much do RULER scores vary?\n\n"
      "Made by `" +
      results.command + "`; [all figures](" + std::string(kStudyFigures) +
      "). Every method saw the same prompts. A difference counts only when its p-value is below "
      "0.05 after Holm's correction: those are in bold. Corrected are, on each model and suite, "
      "ReST-KV's comparisons with the full cache for one another, and its comparisons with other "
      "methods, with itself without a part and with rows of query heads for one another; the file "
      "of all figures has every pair of methods and corrects for all of them. Others are not told "
      "apart by these samples, which does not make the methods equally good.\n\n";
  text += left_out_text(results) + samples_text(data);
  const auto section = [&text](const char* title, const std::string& findings) {
    if (!findings.empty()) text += "## " + std::string(title) + "\n\n" + findings + "\n";
    while (text.ends_with("\n\n\n")) text.pop_back();
  };
  const EqualReading equal_reading = findings_at_equal_reading(data, results.equal_bytes);
  section("In short", findings_in_short(data) + equal_reading.in_short);
  section("ReST-KV against the full cache", findings_against_full(data, results.full));
  section("ReST-KV against other methods at the same budget", findings_between_methods(data));
  section("Which parts of ReST-KV carry it", findings_of_parts(data));
  section("Rows of each KV head against rows of each query head", findings_of_granularity(data));
  section("Variance of RULER scores", findings_of_spread(data));
  section("ReST-KV and AB-Sparse by what a step reads: means and variances", equal_reading.table);
  if (results.before_tail != nullptr) {
    section("Without the chat template's end in the observation window",
            findings_before_tail(data, *results.before_tail));
  }
  if (results.plain != nullptr) {
    section("Without a chat template", findings_without_template(data, *results.plain));
  }
  section("Score by budget", pictures_text(data));
  section("What this allows to say, and what not", findings_of_limits(data, results.full));
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

std::string study_figures_markdown(const StudyResults& results) {
  std::string text = "# All figures of the study\n\nMade by `" + results.command + "`.\n\n" +
                     left_out_text(results) + samples_text(results.prompts) +
                     figures_of(results.prompts);
  if (results.before_tail != nullptr) {
    text += "\n# Without the chat template's end in the observation window\n\n" +
            figures_of(*results.before_tail);
  }
  if (results.plain != nullptr) {
    text += "\n# Without a chat template\n\n" + figures_of(*results.plain);
  }
  if (results.equal_bytes != nullptr) {
    text +=
        "\n# ReST-KV with as many bytes as AB-Sparse reads\n\n" + figures_of(*results.equal_bytes);
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
