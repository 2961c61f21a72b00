#include "eval/variant.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/names.h"
#include "eval/block_table_file.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::array<std::string_view, 1>;

// Others have a number: every:N, chunk:N.
constexpr std::array<std::string_view, 2> kSchedules = {"once", "cap"};
constexpr std::array<std::string_view, 2> kGranularities = {"kv-head", "query-head"};
// In the order of ReadFirst.
constexpr std::array<std::string_view, 3> kModes = {"aware", "before-tail", "agnostic"};
constexpr std::array<std::string_view, 4> kPrefills = {"dense", "tri-shape", "vertical-slash",
                                                       "xattention"};
constexpr std::array<std::string_view, 4> kDecodeAttentions = {"dense", "ab-sparse", "arkvale",
                                                               "quest"};
// Then the method's own budget holds; any other budget may stand there too.
constexpr Names kDecodeBudgets = {"default"};
// Or the path of a file.
constexpr Names kDecodeTables = {"none"};

constexpr VariantDimension kDimensions[] = {
    {.field = "schedule",
     .flag = "--schedules",
     .alias = "--kv-schedule",
     .form = "NAME,...",
     .summary = "when the cache is compressed",
     .others = ", every:TOKENS, chunk:TOKENS",
     .known = kSchedules,
     .value = &EvalVariant::schedule},
    {.field = "granularity",
     .flag = "--granularities",
     .alias = "--kv-granularity",
     .form = "NAME,...",
     .summary = "what has rows of its own",
     .others = "",
     .known = kGranularities,
     .value = &EvalVariant::granularity},
    {.field = "mode",
     .flag = "--modes",
     .alias = "--kv-mode",
     .form = "NAME,...",
     .summary = "what is seen before rows go: all, all but the template's end, or no question",
     .others = "",
     .known = kModes,
     .value = &EvalVariant::mode},
    {.field = "prefill",
     .flag = "--prefills",
     .alias = "--prefill",
     .form = "NAME[:OPT=V],...",
     .summary = "attention while reading",
     .others = "",
     .known = kPrefills,
     .value = &EvalVariant::prefill},
    {.field = "decode_attn",
     .flag = "--decode-attns",
     .alias = "--decode-attn",
     .form = "NAME[:OPT=V],...",
     .summary = "attention while writing",
     .others = "",
     .known = kDecodeAttentions,
     .value = &EvalVariant::decode_attention},
    {.field = "decode_budget",
     .flag = "--decode-budgets",
     .alias = "--decode-budget",
     .form = "N|P%,...",
     .summary = "rows read in a step, of each --decode-attns but dense",
     .others = ", or like 1024 or 10%",
     .known = kDecodeBudgets,
     .value = &EvalVariant::decode_budget},
    {.field = "decode_table",
     .flag = "--decode-tables",
     .alias = "--decode-table",
     .form = "FNAME,...",
     .summary = "block sizes of ab-sparse, as restkv calibrate writes them",
     .others = ", or a file",
     .known = kDecodeTables,
     .value = &EvalVariant::decode_table},
};

// Options that a suite's publications set.
struct SuiteOption {
  std::string_view suite;
  std::string_view policy;
  std::string_view option;
  std::string_view value;
};
constexpr SuiteOption kSuiteOptions[] = {
    {"ruler", "rest-kv", "kernel", "21"},
    {"infinitebench", "rest-kv", "kernel", "21"},
};

std::string spec(std::string name, const std::vector<ParamValues::Assignment>& options) {
  for (const auto& [option, value] : options) name += ":" + option + "=" + value;
  return name;
}

std::string_view protect_name(Protect protect) {
  return protect == Protect::kPaper ? "paper" : "default";
}

bool keeps_all(const EvalVariant& variant) {
  const PolicyInfo* policy = find_policy(variant.kv.policy);
  return policy != nullptr && policy->keeps_all;
}

// The policy random, alone or as what another one scores by.
bool draws_numbers(const KvOptions& kv) {
  return kv.policy == "random" || std::ranges::any_of(kv.policy_options, [](const auto& option) {
           return option.second == "random";
         });
}

// What stands before the options of "name:option=value".
std::string_view name_part(std::string_view spec) { return spec.substr(0, spec.find(':')); }

const DecodeMethodInfo* decode_method_of(const EvalVariant& variant) {
  return find_decode_method(name_part(variant.decode_attention));
}

bool reads_all(const EvalVariant& variant) {
  return name_part(variant.decode_attention) == kDecodeAttentions.front();
}

// As a step obeys it.
std::string decode_budget_text(const EvalVariant& variant) {
  if (variant.decode_budget != kDecodeBudgets.front()) return variant.decode_budget;
  const DecodeMethodInfo* method = decode_method_of(variant);
  return method == nullptr ? "" : std::string(method->default_budget);
}

Error unknown_value(const VariantDimension& dimension, std::string_view value) {
  return {ErrorCode::kInvalidArgument,
          "unknown " + std::string(dimension.field) + " '" + std::string(value) + "' (known: " +
              listed(dimension.known, std::identity()) + std::string(dimension.others) + ")"};
}

// A value that is none of the listed ones: a number where one may stand, or a name with options.
Result<void> check_value(const VariantDimension& dimension, std::string_view value) {
  if (dimension.value == &EvalVariant::decode_budget) {
    if (Budget::parse(value).ok()) return {};
    return unknown_value(dimension, value);
  }
  if (dimension.value == &EvalVariant::schedule) {
    if (Schedule::parse(value).ok()) return {};
    return unknown_value(dimension, value);
  }
  const std::string_view name = name_part(value);
  const bool is_known = std::ranges::find(dimension.known, name) != dimension.known.end();
  if (is_known && dimension.value == &EvalVariant::prefill && name != kPrefills.front()) {
    RESTKV_ASSIGN([[maybe_unused]] const auto checked, parse_prefill_attention(value));
    return {};
  }
  if (is_known && dimension.value == &EvalVariant::decode_attention) {
    const DecodeMethodInfo* method = find_decode_method(name);
    RESTKV_ASSIGN(const NamedParams named, parse_named_params(value));
    RESTKV_ASSIGN([[maybe_unused]] const auto checked,
                  ParamValues::parse(method->name, method->params, named.assignments));
    return {};
  }
  return unknown_value(dimension, value);
}

// FNV-1a, 32 bits. A table is told by its sizes, wherever its file is and whatever it is called.
std::string hash_of(const BlockTable& table) {
  std::uint32_t hash = 0x811C9DC5U;
  const auto add = [&hash](std::uint32_t byte) { hash = (hash ^ byte) * 0x01000193U; };
  for (const char c : table.fingerprint) add(static_cast<unsigned char>(c));
  for (const int rows : table.block_rows) add(static_cast<std::uint32_t>(rows));
  char text[9];
  std::snprintf(text, sizeof text, "%08x", hash);
  return text;
}

Result<void> take_table(EvalVariant& variant, const std::string& path) {
  RESTKV_ASSIGN(BlockTable table, read_block_table(path));
  variant.decode_table = hash_of(table);
  variant.kv.decode.table = std::make_shared<const BlockTable>(std::move(table));
  return {};
}

Result<void> drop_table(EvalVariant& variant) {
  variant.decode_table = kDecodeTables.front();
  variant.kv.decode.table = nullptr;
  return {};
}

}  // namespace

std::span<const VariantDimension> variant_dimensions() { return kDimensions; }

bool dimension_matters(const EvalVariant& variant, const VariantDimension& dimension) {
  if (dimension.value == &EvalVariant::schedule || dimension.value == &EvalVariant::mode ||
      dimension.value == &EvalVariant::granularity) {
    return !keeps_all(variant);
  }
  if (dimension.value == &EvalVariant::decode_budget) return !reads_all(variant);
  if (dimension.value == &EvalVariant::decode_table) {
    const DecodeMethodInfo* method = decode_method_of(variant);
    return method != nullptr && method->takes_table;
  }
  return true;
}

ReadFirst read_first(const EvalVariant& variant) {
  if (keeps_all(variant)) return ReadFirst::kAll;
  return static_cast<ReadFirst>(std::ranges::find(kModes, variant.mode) - kModes.begin());
}

Result<void> set_dimension(EvalVariant& variant, const VariantDimension& dimension,
                           std::string_view value) {
  const bool is_known = std::ranges::find(dimension.known, value) != dimension.known.end();
  if (dimension.value == &EvalVariant::decode_table) {
    return is_known ? drop_table(variant) : take_table(variant, std::string(value));
  }
  if (!is_known) RESTKV_TRY(check_value(dimension, value));
  variant.*dimension.value = value;
  return {};
}

std::string policy_spec(const KvOptions& options) {
  return spec(options.policy, options.policy_options);
}

std::string allocator_spec(const KvOptions& options) {
  return spec(options.allocator, options.allocator_options);
}

Json variant_json(const EvalVariant& variant) {
  const KvOptions& kv = variant.kv;
  Json json = {{"policy", policy_spec(kv)},
               {"budget", kv.budget.text()},
               {"allocator", allocator_spec(kv)},
               {"window", kv.window},
               {"sinks", kv.sinks},
               {"protect", protect_name(kv.protect)},
               {"type_k", kv_type_name(kv.type_k)},
               {"type_v", kv_type_name(kv.type_v)},
               {"seed", nullptr}};
  const bool own_seed = kv.seed != variant.sample_seed || kv.seed == kUsualSeed;
  if (draws_numbers(kv) && own_seed) json["seed"] = kv.seed;
  // Only where it is not the usual one: results of before there was a choice stay what they are.
  if (kv.group_score != GroupScore::kMean && !keeps_all(variant)) {
    json["group"] = group_score_name(kv.group_score);
  }
  const EvalVariant usual;
  for (const VariantDimension& dimension : kDimensions) {
    const EvalVariant& from = dimension_matters(variant, dimension) ? variant : usual;
    if (dimension.value == &EvalVariant::decode_table && from.decode_table == usual.decode_table) {
      continue;
    }
    json[std::string(dimension.field)] = from.*dimension.value;
  }
  json["decode_budget"] =
      reads_all(variant) ? std::string(kDecodeBudgets.front()) : decode_budget_text(variant);
  // The full cache obeys no budget: whatever stands there, it is the same variant. What a step
  // reads of it is the budget that it is compared by.
  if (keeps_all(variant)) {
    for (const char* field : {"allocator", "window", "sinks", "protect", "seed"}) {
      json[field] = nullptr;
    }
    // A pattern reads as many of the last queries densely, but for what it always does.
    if (variant.prefill != kPrefills.front() &&
        variant.kv.window > static_cast<int>(kLeastDenseTail)) {
      json["window"] = variant.kv.window;
    }
    json["budget"] = nullptr;
    if (!reads_all(variant)) json["budget"] = json["decode_budget"];
  }
  return json;
}

std::string variant_label(const EvalVariant& variant) {
  const Json mine = variant_json(variant);
  const Json usual = variant_json(EvalVariant{});
  std::string label = mine["policy"].get<std::string>();
  if (mine["budget"].is_string()) label += " " + mine["budget"].get<std::string>();
  for (const auto& [field, value] : mine.items()) {
    if (field == "policy" || field == "budget" || value.is_null() ||
        value == usual.value(field, Json())) {
      continue;
    }
    if (field == "decode_budget" && keeps_all(variant)) continue;  // said by the budget
    if (field == "seed" && variant.kv.seed == variant.sample_seed) continue;
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    label += " " + (field == "allocator" ? text : field + "=" + text);
  }
  return label;
}

KvOptions options_of(const EvalVariant& variant) {
  KvOptions kv = variant.kv;
  if (!keeps_all(variant)) {
    kv.schedule = Schedule::parse(variant.schedule).value();  // set_dimension() checked both
    kv.granularity = parse_granularity(variant.granularity).value();
  }
  NamedParams decode = parse_named_params(variant.decode_attention).value();
  kv.decode.method = std::move(decode.name);
  kv.decode.method_options = std::move(decode.assignments);
  if (variant.decode_budget != kDecodeBudgets.front()) {
    kv.decode.budget = Budget::parse(variant.decode_budget).value();
  }
  return kv;
}

Result<void> check_variant(const EvalVariant& variant) {
  return check_combination(options_of(variant), prefill_attention_of(variant));
}

KvOptions options_for_suite(const EvalVariant& variant, std::string_view suite) {
  KvOptions kv = options_of(variant);
  for (const SuiteOption& entry : kSuiteOptions) {
    if (entry.suite != suite || entry.policy != kv.policy) continue;
    const bool named = std::ranges::any_of(
        kv.policy_options, [&](const auto& own) { return own.first == entry.option; });
    if (!named) kv.policy_options.emplace_back(entry.option, entry.value);
  }
  return kv;
}

PrefillAttention prefill_attention_of(const EvalVariant& variant) {
  if (variant.prefill == kPrefills.front()) return {};
  return parse_prefill_attention(variant.prefill).value();
}

}  // namespace restkv
