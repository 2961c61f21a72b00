#include "eval/study.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "base/names.h"
#include "eval/report/report_tables.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::string_view kScales[] = {"small", "medium", "large"};

// How much each scale runs; in the order of kScales.
struct Scale {
  std::size_t arithmetic_samples;
  std::size_t ruler_samples;
  std::vector<std::size_t> ruler_lengths;
  std::vector<std::string_view> arithmetic_budgets;
  std::vector<std::string_view> ruler_budgets;
};
Scale scale_of(std::size_t index) {
  const Scale scales[] = {
      {15, 5, {2048}, {"10%", "25%"}, {"64", "256"}},
      {100, 20, {2048, 4096}, {"10%", "25%", "50%"}, {"64", "256", "1024"}},
      {500, 100, {2048, 4096, 8192}, {"10%", "20%", "30%", "50%"}, {"64", "128", "256", "1024"}},
  };
  return scales[index];
}

// A method as its publication has it: a policy and an allocator of ours, or a way to read the full
// cache.
struct Method {
  std::string_view policy;
  std::string_view allocator;
  std::string_view decode_attention = "dense";
};
constexpr Method kMethods[] = {
    {"rest-kv", "uniform"},
    {"snapkv", "uniform"},
    {"snapkv", "pyramid"},
    {"snapkv", "ada"},
    {"h2o", "uniform"},
    {"tova", "uniform"},
    {"streaming-llm", "uniform"},
    {"lacache", "uniform"},
    {"full", "uniform", "ab-sparse"},
    {"random", "uniform"},
};
// rest-kv with one part taken out of it.
constexpr std::string_view kAblations[] = {"rest-kv:ema=off", "rest-kv:wo=off",
                                           "rest-kv:smoothing=max"};

bool exists(const EvalVariant& variant) {
  const KvOptions options = options_of(variant);
  return find_policy(options.policy) != nullptr && find_allocator(options.allocator) != nullptr &&
         check_kv_options(options).ok();
}

void add_variant(const Method& method, std::string_view budget,
                 std::vector<EvalVariant>& variants) {
  const auto named = parse_named_params(method.policy);
  const auto amount = Budget::parse(budget);
  if (!named || !amount) return;
  EvalVariant variant;
  variant.kv.policy = named->name;
  variant.kv.policy_options = named->assignments;
  variant.kv.allocator = method.allocator;
  variant.kv.budget = *amount;
  variant.decode_attention = method.decode_attention;
  if (method.decode_attention != "dense") variant.decode_budget = budget;
  if (exists(variant)) variants.push_back(std::move(variant));
}

enum class Ablations : std::uint8_t { kWithout, kWith };
std::vector<EvalVariant> variants_of(const std::vector<std::string_view>& budgets,
                                     Ablations ablations) {
  std::vector<EvalVariant> variants(1);
  variants.front().kv.policy = "full";
  for (const std::string_view budget : budgets) {
    for (const Method& method : kMethods) {
      add_variant(method, budget, variants);
    }
    if (ablations == Ablations::kWithout) continue;
    for (const std::string_view spec : kAblations) {
      add_variant({.policy = spec, .allocator = "uniform"}, budget, variants);
    }
  }
  return variants;
}

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

std::string findings_against_full(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite) continue;
    if (entry.budget.empty() && entry.mean < kLeastFullScore) {
      text += "- **" + entry.name + "**: the full cache of " + entry.model + " scores " +
              percent_text(entry.mean) +
              " %. The task is too hard for this model; what follows on it says nothing about "
              "caches.\n";
    }
    if (!is_rest_kv(entry.variant) || !entry.against_full) continue;
    text += "- " + entry.name + ": " + entry.variant +
            " against the full cache: " + verdict(*entry.against_full) + ", " +
            interval_text(*entry.against_full) + ".\n";
  }
  return text;
}

std::string findings_between_methods(const ReportData& data) {
  std::string text;
  for (const MethodComparison& methods : data.summary.methods) {
    if (!is_rest_kv(methods.first) && !is_rest_kv(methods.second)) continue;
    text += "- " + methods.suite + ": " + methods.first + " against " + methods.second + ": " +
            verdict(methods.comparison) + ", " + interval_text(methods.comparison) + ".\n";
  }
  return text;
}

std::string findings_of_spread(const ReportData& data) {
  std::string text;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite || entry.name != "ruler") continue;
    const ScoreSpread& spread = entry.spread;
    if (!spread.over_tasks) continue;
    text += "- " + entry.variant + format(": %.0f over tasks", *spread.over_tasks * 1e4);
    if (spread.over_samples) text += format(", %.0f over samples", *spread.over_samples * 1e4);
    if (spread.over_lengths) text += format(", %.0f over lengths", *spread.over_lengths * 1e4);
    if (spread.sampling_noise) text += format("; noise %.0f", *spread.sampling_noise * 1e4);
    text += " (points squared).\n";
  }
  return text;
}

}  // namespace

std::span<const std::string_view> study_scales() { return kScales; }

Result<std::vector<StudyPart>> study_parts(std::string_view scale) {
  const auto* const found = std::ranges::find(kScales, scale);
  if (found == std::end(kScales)) {
    return Error{ErrorCode::kInvalidArgument, "unknown scale '" + std::string(scale) +
                                                  "' (known: " + listed(kScales, std::identity()) +
                                                  ")"};
  }
  const Scale size = scale_of(static_cast<std::size_t>(found - std::begin(kScales)));
  return std::vector<StudyPart>{
      {.title = "arithmetic",
       .tasks = {"gsm8k/few-shot", "multiarith/few-shot"},
       .lengths = {},
       .samples = size.arithmetic_samples,
       .variants = variants_of(size.arithmetic_budgets, Ablations::kWith)},
      {.title = "RULER",
       .tasks = {"ruler"},
       .lengths = size.ruler_lengths,
       .samples = size.ruler_samples,
       .variants = variants_of(size.ruler_budgets, Ablations::kWith)},
  };
}

std::string study_markdown(const ReportData& data, std::string_view command) {
  std::string text =
      "# Does ReST-KV carry over to arithmetic, and how much do RULER scores vary?\n\n"
      "Made by `" +
      std::string(command) +
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
  const std::string report = report_markdown(data);
  return text + "## All figures\n\n" + report.substr(report.find("\n\n") + 2);
}

}  // namespace restkv
