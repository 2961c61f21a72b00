// What the study runs.

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/names.h"
#include "eval/study.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::string_view kScales[] = {"trial", "small", "medium", "large"};

// How much each scale runs; in the order of kScales.
struct Scale {
  std::size_t arithmetic_samples;
  std::size_t ruler_samples;
  std::vector<std::string> ruler_tasks;
  std::vector<std::size_t> ruler_lengths;
  std::vector<std::string_view> arithmetic_budgets;
  std::vector<std::string_view> capped_budgets;  // of the schedules that hold while answering
  std::vector<std::string_view> ruler_budgets;
};
Scale scale_of(std::size_t index) {
  const std::vector<std::string> all = {"ruler"};
  const Scale scales[] = {
      {1, 1, {"ruler/niah_single_1", "ruler/vt"}, {2048}, {"10%"}, {"10%"}, {"64"}},
      {15, 5, all, {2048}, {"10%", "25%"}, {"25%"}, {"64", "256"}},
      {100, 20, all, {2048, 4096}, {"10%", "25%", "50%"}, {"10%", "25%"}, {"64", "256", "1024"}},
      {500,
       100,
       all,
       {2048, 4096, 8192},
       {"10%", "20%", "30%", "50%"},
       {"10%", "25%", "50%"},
       {"64", "128", "256", "1024"}},
  };
  return scales[index];
}

// A method as its publication has it: a policy and an allocator of ours, or a way to read the full
// cache.
struct Method {
  std::string_view policy;
  std::string_view allocator = "uniform";
  std::string_view decode_attention = "dense";
  std::string_view schedule = "once";
  std::string_view granularity = "kv-head";
};
constexpr Method kMethods[] = {
    {.policy = "rest-kv"},
    {.policy = "snapkv"},
    {.policy = "snapkv", .allocator = "pyramid"},
    {.policy = "snapkv", .allocator = "ada"},
    {.policy = "h2o"},
    {.policy = "tova"},
    {.policy = "streaming-llm"},
    {.policy = "lacache"},
    {.policy = "full", .decode_attention = "ab-sparse"},
    {.policy = "random"},
};
// rest-kv with one part taken out of it, and as published, where each query head keeps its own
// rows.
constexpr Method kAblations[] = {
    {.policy = "rest-kv:ema=off"},
    {.policy = "rest-kv:wo=off"},
    {.policy = "rest-kv:smoothing=max"},
    {.policy = "rest-kv", .granularity = "query-head"},
};
// The budget holds while the answer is written: at every step as published, or every 32 tokens.
constexpr Method kWhileAnswering[] = {
    {.policy = "rest-kv", .schedule = "every:32"},  {.policy = "snapkv", .schedule = "every:32"},
    {.policy = "h2o", .schedule = "cap"},           {.policy = "tova", .schedule = "cap"},
    {.policy = "streaming-llm", .schedule = "cap"}, {.policy = "lacache", .schedule = "cap"},
    {.policy = "random", .schedule = "every:32"},
};
constexpr Method kTemplateMethods[] = {{.policy = "rest-kv"}, {.policy = "snapkv"}};
// As the names of the suite's tasks: one of each kind.
constexpr const char* kTemplateTasks[] = {"ruler/niah_multikey_1", "ruler/vt", "ruler/cwe"};

bool exists(const EvalVariant& variant) {
  const KvOptions options = options_of(variant);
  return find_policy(options.policy) != nullptr && find_allocator(options.allocator) != nullptr &&
         check_kv_options(options).ok();
}

// kept: of the cache; read: by a decode that reads a part of it.
struct Amounts {
  std::string_view kept;
  std::string_view read;
};

void add_variant(const Method& method, const Amounts& amounts, std::vector<EvalVariant>& variants) {
  const auto named = parse_named_params(method.policy);
  const auto amount = Budget::parse(amounts.kept);
  if (!named || !amount) return;
  EvalVariant variant;
  variant.kv.policy = named->name;
  variant.kv.policy_options = named->assignments;
  variant.kv.allocator = method.allocator;
  variant.kv.budget = *amount;
  variant.schedule = method.schedule;
  variant.granularity = method.granularity;
  variant.decode_attention = method.decode_attention;
  if (method.decode_attention != "dense") variant.decode_budget = amounts.read;
  if (exists(variant)) variants.push_back(std::move(variant));
}

void add_all(std::span<const Method> methods, std::span<const std::string_view> budgets,
             std::vector<EvalVariant>& variants) {
  for (const std::string_view budget : budgets) {
    for (const Method& method : methods) {
      add_variant(method, {.kept = budget, .read = budget}, variants);
    }
  }
}

std::vector<EvalVariant> with_full() {
  std::vector<EvalVariant> variants(1);
  variants.front().kv.policy = "full";
  return variants;
}

std::vector<EvalVariant> arithmetic_variants(const Scale& size) {
  std::vector<EvalVariant> variants = with_full();
  add_all(kMethods, size.arithmetic_budgets, variants);
  add_all(kAblations, size.arithmetic_budgets, variants);
  add_all(kWhileAnswering, size.capped_budgets, variants);
  return variants;
}

// ReST-KV and AB-Sparse alone at each budget, and together at equal bytes read: twice the rows are
// kept, half of them are read.
std::vector<EvalVariant> ruler_variants(const Scale& size) {
  std::vector<EvalVariant> variants = with_full();
  add_all(kMethods, size.ruler_budgets, variants);
  add_all(kAblations, size.ruler_budgets, variants);
  for (const std::string_view budget : size.ruler_budgets) {
    const std::string twice = std::to_string(2 * std::stoul(std::string(budget)));
    add_variant({.policy = "rest-kv", .decode_attention = "ab-sparse"},
                {.kept = twice, .read = budget}, variants);
  }
  return variants;
}

std::vector<EvalVariant> plain_variants(const Scale& size) {
  std::vector<EvalVariant> variants = with_full();
  add_all(kTemplateMethods, size.ruler_budgets, variants);
  return variants;
}

// The full cache is the same in every mode.
std::vector<EvalVariant> before_tail_variants(const Scale& size) {
  std::vector<EvalVariant> variants;
  add_all(kTemplateMethods, size.ruler_budgets, variants);
  for (EvalVariant& variant : variants) variant.mode = "before-tail";
  return variants;
}

std::vector<std::string> template_tasks(const Scale& size) {
  if (size.ruler_tasks.front() != "ruler") return size.ruler_tasks;
  return {std::begin(kTemplateTasks), std::end(kTemplateTasks)};
}

FullScores full_scores_by(std::string EvalRow::* model, std::span<const EvalRow> rows) {
  FullScores scores;
  for (const EvalRow& row : rows) {
    if (row.variant != "full") continue;
    FullScore& score = scores[{row.*model, row.suite}];
    score.sum += row.score;
    ++score.prompts;
  }
  return scores;
}

}  // namespace

std::span<const std::string_view> study_scales() { return kScales; }

Result<std::vector<StudyPart>> study_parts(std::string_view scale, const StudyAmounts& amounts) {
  const auto* const found = std::ranges::find(kScales, scale);
  if (found == std::end(kScales)) {
    return Error{ErrorCode::kInvalidArgument, "unknown scale '" + std::string(scale) +
                                                  "' (known: " + listed(kScales, std::identity()) +
                                                  ")"};
  }
  Scale size = scale_of(static_cast<std::size_t>(found - std::begin(kScales)));
  if (amounts.arithmetic_samples > 0) size.arithmetic_samples = amounts.arithmetic_samples;
  if (amounts.ruler_samples > 0) size.ruler_samples = amounts.ruler_samples;
  const std::size_t seeds = std::max<std::size_t>(1, amounts.ruler_seeds);
  if (!amounts.ruler_lengths.empty()) size.ruler_lengths = amounts.ruler_lengths;
  return std::vector<StudyPart>{
      {.title = "arithmetic",
       .tasks = {"gsm8k/few-shot", "multiarith/few-shot"},
       .lengths = {},
       .samples = size.arithmetic_samples,
       .variants = arithmetic_variants(size),
       .may_be_too_hard = true},
      {.title = "RULER",
       .tasks = size.ruler_tasks,
       .lengths = size.ruler_lengths,
       .samples = size.ruler_samples,
       .variants = ruler_variants(size),
       .seeds = seeds,
       .meets_ab_sparse = true},
      {.title = "RULER without the template's end in the window",
       .tasks = template_tasks(size),
       .lengths = size.ruler_lengths,
       .samples = size.ruler_samples,
       .variants = before_tail_variants(size),
       .file_ending = kBeforeTailRows,
       .is_about_template = true},
      {.title = "RULER without a chat template",
       .tasks = template_tasks(size),
       .lengths = size.ruler_lengths,
       .samples = size.ruler_samples,
       .variants = plain_variants(size),
       .form = PromptForm::kPlainSameTexts,
       .file_ending = kPlainRows,
       .is_about_template = true},
  };
}

Result<void> use_block_table(std::vector<EvalVariant>& variants, const std::string& path) {
  const auto dimension =
      std::ranges::find(variant_dimensions(), "decode_table", &VariantDimension::field);
  for (EvalVariant& variant : variants) {
    if (!dimension_matters(variant, *dimension)) continue;
    RESTKV_TRY(set_dimension(variant, *dimension, path));
    RESTKV_TRY(check_variant(variant));
  }
  return {};
}

FullScores full_scores(std::span<const EvalRow> rows) {
  return full_scores_by(&EvalRow::model, rows);
}

std::map<std::string, double> suites_too_hard(std::span<const EvalRow> rows,
                                              std::string_view fingerprint) {
  std::map<std::string, double> hard;
  for (const auto& [where, score] : full_scores_by(&EvalRow::fingerprint, rows)) {
    if (where.first == fingerprint && score.mean() < kLeastFullScore) {
      hard[where.second] = score.mean();
    }
  }
  return hard;
}

bool ability_is_clear(std::span<const EvalRow> rows, std::string_view fingerprint) {
  constexpr double kDeviations = 1.959964;
  return std::ranges::all_of(
      full_scores_by(&EvalRow::fingerprint, rows), [fingerprint](const auto& of_suite) {
        const auto& [where, score] = of_suite;
        if (where.first != fingerprint) return true;
        // Wilson (1927): the border is within the interval where the scores lie no more than so
        // many of the deviations from it that it itself would have.
        const double deviation =
            std::sqrt(kLeastFullScore * (1 - kLeastFullScore) / static_cast<double>(score.prompts));
        return std::abs(score.mean() - kLeastFullScore) > kDeviations * deviation;
      });
}

}  // namespace restkv
