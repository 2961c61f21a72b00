#include "eval/summary.h"

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstdlib>
#include <map>
#include <tuple>

#include "cache/kv_cache.h"
#include "eval/row_choice.h"
#include "restkv/budget.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

using Rows = std::vector<const EvalRow*>;

// The full cache, read in full: a decode that reads a part of it has a budget.
bool keeps_all(const EvalRow& row) {
  const PolicyInfo* policy = find_policy(row.policy);
  return policy != nullptr && policy->keeps_all && row.budget.empty();
}

// What a table sorts by.
auto rank_of(const EvalRow& row) {
  const bool percent = row.budget.ends_with('%');
  const double amount = std::strtod(row.budget.c_str(), nullptr);
  return std::tuple(!keeps_all(row), row.policy, row.allocator, percent, amount, row.variant);
}

struct Group {
  std::string model;
  SummaryLevel level;
  std::string name;
  std::int64_t length;
  auto operator<=>(const Group&) const = default;
};

std::vector<Group> groups_of(const EvalRow& row) {
  return {{row.fingerprint, SummaryLevel::kTask, row.task, row.length},
          {row.fingerprint, SummaryLevel::kCategory, row.suite + "/" + row.category, 0},
          {row.fingerprint, SummaryLevel::kLength, row.suite, row.length},
          {row.fingerprint, SummaryLevel::kSuite, row.suite, 0}};
}

std::vector<ScoredSample> scored(const Rows& rows) {
  std::vector<ScoredSample> samples;
  for (const EvalRow* row : rows) {
    samples.push_back({.task = row->task,
                       .length = static_cast<std::size_t>(row->length),
                       .seed = static_cast<std::uint64_t>(row->seed),
                       .score = row->score});
  }
  return samples;
}

// Differences of the prompts that both have answered, by the cells that scores are means of: what
// is estimated is then the difference of the scores.
std::vector<std::vector<double>> paired_groups(const Rows& first, const Rows& second) {
  // The same sample may come from other data or with another template.
  const auto prompt = [](const EvalRow& row) {
    return std::pair(prompt_key(row), row.prompt_hash);
  };
  std::map<std::pair<PromptKey, std::string>, double> others;
  for (const EvalRow* row : second) others.emplace(prompt(*row), row->score);
  std::map<std::tuple<std::string, std::int64_t, std::int64_t>, std::vector<double>> groups;
  for (const EvalRow* row : first) {
    const auto other = others.find(prompt(*row));
    if (other == others.end()) continue;
    groups[{row->task, row->length, row->seed}].push_back(row->score - other->second);
  }
  std::vector<std::vector<double>> list;
  for (auto& [key, differences] : groups) list.push_back(std::move(differences));
  return list;
}

// Standard error of the mean over the groups of their means; nothing when no group has two members.
// Groups of one are taken to vary as the others do.
std::optional<double> standard_error_of(const std::vector<std::vector<double>>& groups) {
  double squares = 0;  // of differences from their group's mean
  double freedom = 0;
  for (const std::vector<double>& group : groups) {
    const auto degrees = static_cast<double>(group.size() - 1);
    squares += sample_variance(group).value_or(0) * degrees;
    freedom += degrees;
  }
  if (freedom == 0) return std::nullopt;
  double sum = 0;  // of the variances of the groups' means
  for (const std::vector<double>& group : groups) {
    sum += sample_variance(group).value_or(squares / freedom) / static_cast<double>(group.size());
  }
  return std::sqrt(sum) / static_cast<double>(groups.size());
}

// Nothing when no prompt is shared.
Result<std::optional<Comparison>> compare(const Rows& first, const Rows& second,
                                          const ResamplingOptions& options) {
  const auto groups = paired_groups(first, second);
  if (groups.empty()) return std::optional<Comparison>();
  Comparison result;
  for (const auto& group : groups) result.pairs += group.size();
  RESTKV_ASSIGN(result.difference, bootstrap_interval(groups, options));
  RESTKV_ASSIGN(result.p, sign_flip_p_value(groups, options));
  if (const auto error = standard_error_of(groups)) {
    // Of single differences, had they all come from one group: so many more samples, over the
    // groups as these are, make the error so much smaller.
    const double deviation = *error * std::sqrt(static_cast<double>(result.pairs));
    if (const auto needed = samples_needed(result.difference.estimate, deviation, {})) {
      result.samples_needed = *needed;
    }
    if (const auto found = detectable_difference(result.pairs, deviation, {})) {
      result.detectable = *found;
    }
  }
  return std::optional(result);
}

// Rows of the prompt that a step reads: those that are kept, or the measured part of them; where no
// step was measured, as many as the decode budget allows.
double readable_rows(const EvalRow& row) {
  const double kept = row.kept_tokens;
  if (row.decode_attn == "dense") return kept;
  if (row.rows_held > 0) return kept * row.rows_read / row.rows_held;
  const auto budget = Budget::parse(row.decode_budget);
  if (!budget.ok()) return kept;
  const bool percent = budget->unit == Budget::Unit::kPercent;
  return std::min(kept, percent ? kept * budget->amount / 100 : budget->amount);
}

SummaryEntry entry_of(const Group& group, const Rows& rows) {
  const EvalRow& any = *rows.front();
  SummaryEntry entry;
  entry.fingerprint = any.fingerprint;
  entry.model = any.model;
  entry.level = group.level;
  entry.name = group.name;
  entry.length = group.length;
  entry.variant = any.variant;
  entry.policy = any.policy;
  entry.budget = any.budget;
  entry.allocator = any.allocator;
  entry.samples = rows.size();
  const std::vector<ScoredSample> samples = scored(rows);
  entry.mean = *mean_of_cells(samples);
  entry.spread = score_spread(samples);
  const auto share = [&](const auto& of) {
    double sum = 0;
    for (const EvalRow* row : rows) sum += static_cast<double>(of(*row));
    return sum / static_cast<double>(rows.size());
  };
  const auto of_prompt = [](const EvalRow& row, double kept) {
    return row.prompt_tokens > 0 ? kept / static_cast<double>(row.prompt_tokens) : 1.0;
  };
  entry.kept_share = share([&](const EvalRow& row) { return of_prompt(row, row.kept_tokens); });
  entry.read_share = share([&](const EvalRow& row) { return of_prompt(row, readable_rows(row)); });
  entry.bytes = share([](const EvalRow& row) { return row.bytes; });
  entry.reading = mean_reading(rows);
  entry.truncated = share([](const EvalRow& row) { return row.truncated; });
  entry.looping = share([](const EvalRow& row) { return row.looping; });
  entry.unanswered = share([](const EvalRow& row) { return row.answered == 0; });
  return entry;
}

// The variants of a group in the order of tables.
std::vector<Rows> by_variant(const Rows& rows) {
  std::map<decltype(rank_of(*rows.front())), Rows> sorted;
  for (const EvalRow* row : rows) sorted[rank_of(*row)].push_back(row);
  std::vector<Rows> list;
  for (auto& [rank, members] : sorted) list.push_back(std::move(members));
  return list;
}

// The variant that others are measured by: the full cache without further options, or the first.
const Rows* full_of(const std::vector<Rows>& variants) {
  const Rows* first = nullptr;
  for (const Rows& rows : variants) {
    if (!keeps_all(*rows.front())) continue;
    if (rows.front()->variant == rows.front()->policy) return &rows;
    if (first == nullptr) first = &rows;
  }
  return first;
}

using Pairs = std::vector<std::pair<const Rows*, const Rows*>>;

Pairs methods_at_one_budget(const std::vector<Rows>& variants) {
  Pairs pairs;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    for (std::size_t j = i + 1; j < variants.size(); ++j) {
      const EvalRow& first = *variants[i].front();
      const EvalRow& second = *variants[j].front();
      if (keeps_all(first) || keeps_all(second) || first.budget != second.budget) continue;
      pairs.emplace_back(&variants[i], &variants[j]);
    }
  }
  return pairs;
}

Result<void> compare_methods(const Group& group, const std::vector<Rows>& variants,
                             ResamplingOptions options, Summary& summary) {
  const std::size_t before = summary.methods.size();
  const Pairs pairs = methods_at_one_budget(variants);
  options.comparisons = pairs.size();
  for (const auto& [first, second] : pairs) {
    RESTKV_ASSIGN(const auto comparison, compare(*first, *second, options));
    if (!comparison) continue;
    summary.methods.push_back({.model = first->front()->model,
                               .suite = group.name,
                               .first = first->front()->variant,
                               .second = second->front()->variant,
                               .budget = first->front()->budget,
                               .comparison = *comparison});
  }
  std::vector<Comparison*> family;
  for (std::size_t i = before; i < summary.methods.size(); ++i) {
    family.push_back(&summary.methods[i].comparison);
  }
  correct_for_many(family);
  return {};
}

void correct_against_full(Summary& summary) {
  std::map<std::pair<std::string, SummaryLevel>, std::vector<Comparison*>> families;
  for (SummaryEntry& entry : summary.entries) {
    if (entry.against_full) families[{entry.model, entry.level}].push_back(&*entry.against_full);
  }
  for (const auto& [key, family] : families) correct_for_many(family);
}

// Of a row in all KV heads and layers, as the full cache of the prompt has them, in whole pages.
// What an evicted cache holds is no measure: its pages have room for rows of the answer.
double row_bytes(const EvalRow& row) {
  const auto pages = (static_cast<std::size_t>(row.prompt_tokens) + kPageRows - 1) / kPageRows;
  return static_cast<double>(row.bytes_full) / static_cast<double>(pages * kPageRows);
}

}  // namespace

void correct_for_many(std::span<Comparison* const> family) {
  std::vector<double> p;
  for (const Comparison* comparison : family) p.push_back(comparison->p);
  const std::vector<double> by_holm = holm(p);
  const std::vector<double> by_bh = benjamini_hochberg(p);
  for (std::size_t i = 0; i < family.size(); ++i) {
    family[i]->p_holm = by_holm[i];
    family[i]->p_bh = by_bh[i];
  }
}

std::optional<StepReading> mean_reading(std::span<const EvalRow* const> rows) {
  StepReading sum;
  double n = 0;
  for (const EvalRow* row : rows) {
    if (row->rows_held <= 0 || row->prompt_tokens <= 0) continue;
    ++n;
    sum.rows += row->rows_read;
    sum.bytes += row->rows_read * row_bytes(*row) + static_cast<double>(row->summary_bytes);
  }
  if (n == 0) return std::nullopt;
  return StepReading{.rows = sum.rows / n, .bytes = sum.bytes / n};
}

void name_models(std::span<EvalRow> rows) {
  constexpr std::size_t kShown = 8;
  std::map<std::string, std::string> names;     // of fingerprints
  std::map<std::string, std::size_t> carriers;  // of names
  for (const EvalRow& row : rows) {
    if (names.try_emplace(row.fingerprint, row.model).second) ++carriers[row.model];
  }
  for (EvalRow& row : rows) {
    const std::string& name = names.at(row.fingerprint);
    row.model = carriers.at(name) == 1 ? name : name + " " + row.fingerprint.substr(0, kShown);
  }
}

const char* summary_level_name(SummaryLevel level) {
  switch (level) {
    case SummaryLevel::kTask: return "task";
    case SummaryLevel::kCategory: return "category";
    case SummaryLevel::kLength: return "length";
    case SummaryLevel::kSuite: return "suite";
  }
  return "?";
}

Result<Summary> summarise(std::span<const EvalRow> all, const ResamplingOptions& options) {
  const std::vector<EvalRow> rows = without_repeats({all.begin(), all.end()});
  if (rows.empty()) return Error{ErrorCode::kInvalidArgument, "there are no results to sum up"};
  std::map<Group, Rows> groups;
  for (const EvalRow& row : rows) {
    if (!std::isfinite(row.score)) {
      return Error{ErrorCode::kInvalidArgument,
                   "sample " + row.sample + " of " + row.task + " has a score that is no number"};
    }
    for (const Group& group : groups_of(row)) groups[group].push_back(&row);
  }
  std::map<Group, std::vector<Rows>> variants_of;
  // Comparisons with the full cache that are corrected together, by model and level.
  std::map<std::pair<std::string, SummaryLevel>, std::size_t> families;
  for (const auto& [group, members] : groups) {
    const std::vector<Rows>& variants = variants_of[group] = by_variant(members);
    if (full_of(variants) != nullptr) families[{group.model, group.level}] += variants.size() - 1;
  }
  Summary summary;
  for (const auto& [group, variants] : variants_of) {
    const Rows* full = full_of(variants);
    ResamplingOptions against_full = options;
    against_full.comparisons = families[{group.model, group.level}];
    for (const Rows& variant : variants) {
      SummaryEntry entry = entry_of(group, variant);
      if (full != nullptr && &variant != full) {
        RESTKV_ASSIGN(entry.against_full, compare(variant, *full, against_full));
      }
      summary.entries.push_back(std::move(entry));
    }
    if (group.level == SummaryLevel::kSuite) {
      RESTKV_TRY(compare_methods(group, variants, options, summary));
    }
  }
  correct_against_full(summary);
  return summary;
}

std::vector<std::string> variants_in_order(std::span<const EvalRow> rows) {
  Rows all;
  for (const EvalRow& row : rows) all.push_back(&row);
  std::vector<std::string> labels;
  if (all.empty()) return labels;
  for (const Rows& variant : by_variant(all)) {
    const std::string& label = variant.front()->variant;
    if (std::ranges::find(labels, label) == labels.end()) labels.push_back(label);
  }
  return labels;
}

}  // namespace restkv
