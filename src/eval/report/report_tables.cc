#include "eval/report/report_tables.h"

#include <algorithm>
#include <compare>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/format.h"
#include "engine/result_labels.h"
#include "eval/report/row_notes.h"
#include "eval/row_choice.h"

namespace restkv {
namespace {

using Entries = std::vector<const SummaryEntry*>;

std::string variance_text(const std::optional<double>& variance) {
  return variance ? format("%.1f", *variance * 1e4) : "-";
}

std::string with_length(const std::string& name, std::int64_t length) {
  return length > 0 ? name + " " + std::to_string(length) : name;
}

// The rest of the name behind its suite.
std::string short_name(const std::string& name) { return name.substr(name.find('/') + 1); }

bool belongs(const std::string& name, const std::string& suite) {
  return name == suite || name.starts_with(suite + "/");
}

// Entries of one level of a suite, in the order of the summary.
Entries entries_of(const ReportData& data, const ReportSection& section, SummaryLevel level) {
  Entries found;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.model == section.model && entry.level == level &&
        belongs(entry.name, section.suite)) {
      found.push_back(&entry);
    }
  }
  return found;
}

struct Column {
  std::string name;
  std::int64_t length;
  auto operator<=>(const Column&) const = default;
};

// Variants down, groups across, means in the cells.
ReportTable score_table(const Entries& entries, const std::vector<std::string>& variants,
                        std::string title) {
  ReportTable table{.title = std::move(title), .note = {}, .header = {"variant"}, .rows = {}};
  std::vector<Column> columns;
  for (const SummaryEntry* entry : entries) {
    const Column column{entry->name, entry->length};
    if (std::ranges::find(columns, column) == columns.end()) columns.push_back(column);
  }
  for (const Column& column : columns) {
    table.header.push_back(with_length(short_name(column.name), column.length));
  }
  for (const std::string& variant : variants) {
    std::vector<TableCell> row = {{variant}};
    bool any = false;
    for (const Column& column : columns) {
      const auto found = std::ranges::find_if(entries, [&](const SummaryEntry* entry) {
        return entry->variant == variant && Column{entry->name, entry->length} == column;
      });
      any |= found != entries.end();
      row.push_back(found == entries.end()
                        ? TableCell{"-"}
                        : TableCell{percent_text((*found)->mean), (*found)->mean});
    }
    if (any) table.rows.push_back(std::move(row));
  }
  return table;
}

ReportTable overview_table(const Entries& entries) {
  ReportTable table{
      .title = "Overview",
      .note =
          "Score: mean over tasks and lengths, in percent. Kept: rows of the prompt that stay. "
          "Read: rows of a KV head and layer that a step of the answer reads, and the bytes of all "
          "that it reads of the cache. "
          "Cut off: answers that ended at the limit; looping: those that repeated themselves.",
      .header = {"variant", "score", "samples", "kept %", "cache MiB", "rows read", "MiB read",
                 "cut off %", "looping %", "no answer %"},
      .rows = {}};
  for (const SummaryEntry* entry : entries) {
    table.rows.push_back({{entry->variant},
                          {percent_text(entry->mean), entry->mean},
                          {std::to_string(entry->samples)},
                          {percent_text(entry->kept_share)},
                          {mib_text(entry->bytes)},
                          {entry->reading ? format("%.0f", entry->reading->rows) : "-"},
                          {entry->reading ? mib_text(entry->reading->bytes) : "-"},
                          {percent_text(entry->truncated)},
                          {percent_text(entry->looping)},
                          {percent_text(entry->unanswered)}});
  }
  return table;
}

std::vector<TableCell> comparison_cells(const Comparison& comparison) {
  const Interval& interval = comparison.difference;
  return {{format("%+.1f", interval.estimate * 100)},
          {format("%+.1f to %+.1f", interval.low * 100, interval.high * 100)},
          {p_text(comparison.p)},
          {p_text(comparison.p_holm)},
          {p_text(comparison.p_bh)},
          {std::to_string(comparison.pairs)},
          {comparison.samples_needed ? std::to_string(*comparison.samples_needed) : "-"},
          {comparison.detectable ? format("%.1f", *comparison.detectable * 100) : "-"}};
}

constexpr const char* kComparisonNote =
    "Points of the score, on the same prompts, with the paired bootstrap interval. p: of flipped "
    "signs; Holm and BH: corrected for all comparisons of this kind. Needed: samples that a "
    "difference of this size takes to be found (5 %, power 0.8); found: the smallest difference "
    "that these samples would find.";

std::vector<std::string> comparison_header(const char* first) {
  return {first, "difference", "95 %", "p", "p Holm", "p BH", "pairs", "needed", "found"};
}

ReportTable full_table(const Entries& entries) {
  ReportTable table{.title = "Against the full cache",
                    .note = kComparisonNote,
                    .header = comparison_header("variant"),
                    .rows = {}};
  for (const SummaryEntry* entry : entries) {
    if (!entry->against_full) continue;
    std::vector<TableCell> row = comparison_cells(*entry->against_full);
    row.insert(row.begin(), TableCell{entry->variant});
    table.rows.push_back(std::move(row));
  }
  return table;
}

ReportTable method_table(const ReportData& data, const ReportSection& section) {
  ReportTable table{.title = "Methods at the same budget",
                    .note = kComparisonNote,
                    .header = comparison_header("first - second"),
                    .rows = {}};
  for (const MethodComparison& methods : data.summary.methods) {
    if (methods.model != section.model || methods.suite != section.suite) continue;
    std::vector<TableCell> row = comparison_cells(methods.comparison);
    row.insert(row.begin(), TableCell{methods.first + " - " + methods.second});
    table.rows.push_back(std::move(row));
  }
  return table;
}

ReportTable spread_table(const Entries& entries) {
  ReportTable table{
      .title = "How the scores spread",
      .note =
          "Variances of scores in percent, so in points squared. Over samples: within a task, "
          "length and seed. Over tasks, lengths, seeds: of the means, the rest held fixed. "
          "Noise: what the samples alone add to each of the last three; a variance that is "
          "not well above it says nothing. -: fewer than two members.",
      .header = {"variant", "score", "over samples", "over tasks", "over lengths", "over seeds",
                 "noise"},
      .rows = {}};
  for (const SummaryEntry* entry : entries) {
    const ScoreSpread& spread = entry->spread;
    table.rows.push_back({{entry->variant},
                          {percent_text(entry->mean), entry->mean},
                          {variance_text(spread.over_samples)},
                          {variance_text(spread.over_tasks)},
                          {variance_text(spread.over_lengths)},
                          {variance_text(spread.over_seeds)},
                          {variance_text(spread.sampling_noise)}});
  }
  return table;
}

// "2048, 4096" by variant; nothing where all have the same. `entries`: of kLength.
using Lengths = std::map<std::string, std::string>;
Lengths lengths_of(const Entries& entries) {
  Lengths lengths;
  for (const SummaryEntry* entry : entries) {
    std::string& text = lengths[entry->variant];
    const std::string length = entry->length > 0 ? std::to_string(entry->length) : "as they come";
    text += (text.empty() ? "" : ", ") + length;
  }
  const bool same = std::ranges::all_of(lengths, [&lengths](const auto& of_variant) {
    return of_variant.second == lengths.begin()->second;
  });
  return same ? Lengths() : lengths;
}

// With a column for them: a mean over one length must not look like one over several.
ReportTable with_lengths(ReportTable table, const Lengths& lengths) {
  if (lengths.empty()) return table;
  table.header.insert(table.header.begin() + 1, "lengths");
  for (std::vector<TableCell>& row : table.rows) {
    row.insert(row.begin() + 1, TableCell{lengths.at(row.front().text)});
  }
  return table;
}

void add_tables(const ReportData& data, const std::vector<std::string>& variants,
                ReportSection& section) {
  const auto of = [&](SummaryLevel level) { return entries_of(data, section, level); };
  const Entries suite = of(SummaryLevel::kSuite);
  const Entries by_length = of(SummaryLevel::kLength);
  const Lengths lengths = lengths_of(by_length);
  Entries compared;
  std::ranges::copy_if(by_length, std::back_inserter(compared),
                       [](const SummaryEntry* entry) { return entry->against_full.has_value(); });
  const auto add_if_wide = [&](const Entries& entries, const char* title, const Lengths& told) {
    ReportTable table = score_table(entries, variants, title);
    if (table.header.size() > 2) section.tables.push_back(with_lengths(std::move(table), told));
  };
  section.tables.push_back(with_lengths(overview_table(suite), lengths));
  section.tables.push_back(score_table(of(SummaryLevel::kTask), variants, "Scores by task"));
  add_if_wide(of(SummaryLevel::kCategory), "Scores by category", lengths);
  add_if_wide(by_length, "Scores by length", {});
  for (ReportTable table :
       {with_lengths(full_table(suite), lengths_of(compared)), method_table(data, section),
        with_lengths(spread_table(suite), lengths)}) {
    if (!table.rows.empty()) section.tables.push_back(std::move(table));
  }
}

std::string joined(const std::set<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : "; ") + value;
  return text;
}

// The different values of a field, joined.
std::string values_of(const ReportData& data, std::string EvalRow::* field) {
  std::set<std::string> values;
  for (const EvalRow& row : data.rows) {
    if (!(row.*field).empty()) values.insert(row.*field);
  }
  return joined(values);
}

}  // namespace

std::string mib_text(double bytes) { return format("%.2f", bytes / (1024.0 * 1024.0)); }

std::string percent_text(double share) { return format("%.1f", share * 100); }

std::string p_text(double p) { return p < 0.001 ? "< 0.001" : format("%.3f", p); }

std::vector<ReportSection> report_sections(const ReportData& data) {
  std::vector<ReportSection> sections;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite) continue;
    const bool known = std::ranges::any_of(sections, [&](const ReportSection& section) {
      return section.model == entry.model && section.suite == entry.name;
    });
    if (!known) sections.push_back({.model = entry.model, .suite = entry.name, .tables = {}});
  }
  const std::vector<std::string> variants = variants_in_order(data.rows);
  for (ReportSection& section : sections) add_tables(data, variants, section);
  return sections;
}

ReportData counted_once(const ReportData& data) {
  ReportData once = data;
  once.rows = without_repeats(std::move(once.rows));
  return once;
}

std::vector<std::string> report_facts(const ReportData& data) {
  std::set<std::int64_t> seeds;
  for (const EvalRow& row : data.rows) seeds.insert(row.seed);
  std::string seed_text;
  for (const std::int64_t seed : seeds) {
    seed_text += (seed_text.empty() ? "" : ", ") + std::to_string(seed);
  }
  std::vector<std::string> facts = {
      "Model: " + values_of(data, &EvalRow::model) + " (SHA-256 " +
          values_of(data, &EvalRow::fingerprint) + ")",
      "restkv " + values_of(data, &EvalRow::version) + ", kernels " +
          values_of(data, &EvalRow::kernels),
      "Rows: " + std::to_string(data.rows.size()) + "; seeds of the samples: " + seed_text,
      "Wording of the prompts: " + values_of(data, &EvalRow::wording) +
          "; texts: " + values_of(data, &EvalRow::source)};
  const auto add_if_any = [&facts](const std::string& title, const std::set<std::string>& notes) {
    if (!notes.empty()) facts.push_back(title + ": " + joined(notes));
  };
  std::set<std::string> blocks;
  std::set<std::string> approximations;
  std::set<std::string> budgets;
  std::set<std::string> publications;
  std::set<std::string> settings;
  for (const EvalRow& row : data.rows) {
    if (const std::string text = row_settings(row); !text.empty()) settings.insert(text);
    const std::string sizes = row_block_sizes(row);
    if (!sizes.empty()) blocks.insert(row.decode_attn + ": " + sizes);
    const std::string paper(publication_of(row.policy));
    if (!paper.empty()) publications.insert(row.policy + ": " + paper);
    if (!row.allocator.empty()) {
      budgets.insert(row.allocator + ": " + std::string(budgets_label(row.allocator)));
    }
    if (is_approximation(row.policy, row.schedule)) approximations.insert(row.schedule);
  }
  add_if_any("Settings", settings);
  add_if_any("Policies, with what differs from the publication", publications);
  add_if_any("Budgets", budgets);
  add_if_any("Decode by blocks", blocks);
  add_if_any("Approximations, because a prompt is read in pieces", approximations);
  return facts;
}

}  // namespace restkv
