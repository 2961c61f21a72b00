// The page: everything in one file, without a script, readable on a narrow screen.

#include <cstdint>
#include <map>
#include <tuple>

#include "eval/report/report.h"
#include "eval/report/report_pictures.h"
#include "eval/report/report_tables.h"

namespace restkv {
namespace {

// Samples of a task and length that are shown; the others stand in the CSV.
constexpr std::size_t kShownSamples = 20;

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{margin-top:2.5rem;border-bottom:1px solid #8886}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border:1px solid #8884;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.note{color:#777;font-size:.9em;max-width:50rem}
svg{width:100%;max-width:44rem;height:auto;display:block}
svg text{font-size:12px;fill:currentColor}
.grid{stroke:#8884}.full{stroke:currentColor;stroke-width:2;stroke-dasharray:7 5}
.legend span{display:inline-block;margin-right:1em;overflow-wrap:anywhere}
svg.swatch{display:inline-block;width:28px;height:8px;vertical-align:middle}
.maps{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}
details{margin:.3rem 0 .3rem .6rem}summary{cursor:pointer;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8881;padding:.5rem;margin:.3rem 0}
.k{background:#3b82f640}.k9{background:#3b82f6a0}
@media(max-width:40rem){
body{padding:.6rem}ul{padding-left:1.2rem}svg{overflow:visible}svg text{font-size:17px}
table{font-size:.85em}th,td{padding:.2rem .35rem}
th:first-child,td:first-child{position:sticky;left:0;min-width:8rem;max-width:8rem;
white-space:normal;overflow-wrap:anywhere;background:Canvas}
.maps th:first-child,.maps td:first-child{min-width:0}
}
</style>
)";

std::string table_html(const ReportTable& table) {
  std::string text = "<h3>" + html_text(table.title) + "</h3>\n";
  if (!table.note.empty()) text += "<p class='note'>" + html_text(table.note) + "</p>\n";
  text += "<div class='scroll'><table><tr>";
  for (const std::string& name : table.header) text += "<th>" + html_text(name) + "</th>";
  text += "</tr>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (const TableCell& cell : row) {
      const std::string style =
          cell.shade ? " style='" + shade_style(*cell.shade) + "'" : std::string();
      text += "<td" + style + ">" + html_text(cell.text) + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

// A strength for stretches of tokens: dropped everywhere, kept by some heads, kept by (nearly) all.
enum class Mark : std::uint8_t { kDropped, kSome, kAll };
Mark mark_of(char digit) {
  if (digit == '0') return Mark::kDropped;
  return digit == '9' ? Mark::kAll : Mark::kSome;
}

// The prompt with what is kept on a coloured ground. Tokens can end inside a character, so
// neighbours with the same mark are put together before they become text.
std::string marked_prompt(const EvalPrompt& prompt, const std::string& kept) {
  std::string text = "<pre>";
  for (std::size_t i = 0; i < prompt.pieces.size();) {
    const Mark mark = kept.empty() ? Mark::kAll : mark_of(kept[i]);
    std::string run;
    for (; i < prompt.pieces.size() && (kept.empty() || mark_of(kept[i]) == mark); ++i) {
      run += prompt.pieces[i];
    }
    const char* open = mark == Mark::kAll ? "<span class='k9'>" : "<span class='k'>";
    text += mark == Mark::kDropped ? html_text(run) : open + html_text(run) + "</span>";
  }
  return text + "</pre>\n";
}

std::string row_html(const EvalRow& row, const ReportData& data) {
  std::string text = "<details><summary>" + html_text(row.variant) + ": " +
                     percent_text(row.score) +
                     (row.looping != 0     ? " (looping)"
                      : row.truncated != 0 ? " (cut off)"
                                           : "") +
                     "</summary>\n<pre>" + html_text(row.prediction) + "</pre>\n";
  text +=
      "<p class='note'>" + std::to_string(row.prompt_tokens) + " tokens read, " +
      percent_text(row.prompt_tokens > 0 ? row.kept_tokens / static_cast<double>(row.prompt_tokens)
                                         : 1) +
      " % kept, " + std::to_string(row.generated_tokens) + " written; " + html_text(row.options) +
      "</p>\n";
  const auto prompt = data.prompts.find(row.prompt_hash);
  // No marks: nothing went, or nobody asked for them.
  const bool keeps_all = row.kept_tokens >= static_cast<double>(row.prompt_tokens);
  const bool marked =
      prompt != data.prompts.end() &&
      (row.kept.empty() ? keeps_all : row.kept.size() == prompt->second.pieces.size());
  if (marked) {
    text +=
        "<details><summary>the prompt, with what was kept</summary>"
        "<p class='note'><span class='k9'>kept by more than 8 of 9 heads</span> <span "
        "class='k'>by fewer</span> by none</p>\n" +
        marked_prompt(prompt->second, row.kept) + "</details>\n";
  }
  return text + "</details>\n";
}

// Where a sample stands: by seed, and by a name that ends with a number, so the shorter before.
using SampleKey = std::tuple<std::int64_t, std::size_t, std::string>;
using Samples = std::map<SampleKey, std::vector<const EvalRow*>>;

bool has_one_seed(const Samples& samples) {
  return std::get<0>(samples.begin()->first) == std::get<0>(samples.rbegin()->first);
}

// The samples of a suite, by task and length.
std::string samples_html(const ReportData& data, const ReportSection& section) {
  std::map<std::pair<std::string, std::int64_t>, Samples> tasks;
  for (const EvalRow& row : data.rows) {
    if (row.model != section.model || row.suite != section.suite) continue;
    tasks[{row.task, row.length}][{row.seed, row.sample.size(), row.sample}].push_back(&row);
  }
  std::string text = "<h3>Samples</h3>\n";
  for (const auto& [task, samples] : tasks) {
    text += "<details><summary>" + html_text(task.first) +
            (task.second > 0 ? ", " + std::to_string(task.second) + " tokens" : std::string()) +
            ": " + std::to_string(samples.size()) + " samples</summary>\n";
    std::size_t shown = 0;
    const bool one_seed = has_one_seed(samples);
    for (const auto& [sample, rows] : samples) {
      if (shown++ == kShownSamples) {
        text += "<p class='note'>The first " + std::to_string(kShownSamples) +
                " are shown; the CSV has all.</p>\n";
        break;
      }
      const std::int64_t seed = rows.front()->seed;
      text += "<details><summary>" + html_text(rows.front()->sample) +
              (one_seed ? "" : ", seed " + std::to_string(seed)) +
              ", right: " + html_text(rows.front()->answers) + "</summary>\n";
      for (const EvalRow* row : rows) text += row_html(*row, data);
      text += "</details>\n";
    }
    text += "</details>\n";
  }
  return text;
}

}  // namespace

std::string report_html(const ReportData& all) {
  const ReportData data = counted_once(all);
  std::string text = kHead;
  text += "<title>" + html_text(data.title) + "</title></head><body>\n<h1>" +
          html_text(data.title) + "</h1>\n<ul>\n";
  for (const std::string& fact : report_facts(data)) {
    text += "<li style='overflow-wrap:anywhere'>" + html_text(fact) + "</li>\n";
  }
  text += "</ul>\n";
  for (const ReportSection& section : report_sections(data)) {
    text += "<h2>" + html_text(section.suite) + ", " + html_text(section.model) + "</h2>\n";
    text += budget_curves(data, section.model, section.suite);
    for (const ReportTable& table : section.tables) text += table_html(table);
    text += depth_maps(data, section.model, section.suite);
    text += samples_html(data, section);
  }
  return text + "</body></html>\n";
}

}  // namespace restkv
