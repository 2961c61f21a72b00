#include "eval/variant.h"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/names.h"
#include "eval/json_file.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::array<std::string_view, 1>;

// Others have a number: every:N, chunk:N.
constexpr std::array<std::string_view, 2> kSchedules = {"once", "cap"};
constexpr Names kGranularities = {"kv-head"};
constexpr std::array<std::string_view, 2> kModes = {"aware", "agnostic"};
constexpr std::array<std::string_view, 4> kPrefills = {"full", "tri-shape", "vertical-slash",
                                                       "xattention"};
constexpr std::array<std::string_view, 4> kDecodeAttentions = {"dense", "ab-sparse", "arkvale",
                                                               "quest"};
// Then the method's own budget holds; any other budget may stand there too.
constexpr Names kDecodeBudgets = {"default"};

constexpr VariantDimension kDimensions[] = {
    {"schedule", "--schedules", "--kv-schedule", "when the cache is compressed", kSchedules,
     &EvalVariant::schedule},
    {"granularity", "--granularities", "", "what has rows of its own", kGranularities,
     &EvalVariant::granularity},
    {"mode", "--modes", "--kv-mode", "whether the question is seen before rows go", kModes,
     &EvalVariant::mode},
    {"prefill", "--prefills", "", "attention while reading", kPrefills, &EvalVariant::prefill},
    {"decode_attn", "--decode-attns", "--decode-attn", "attention while writing", kDecodeAttentions,
     &EvalVariant::decode_attention},
    {"decode_budget", "--decode-budgets", "--decode-budget", "rows read in a step", kDecodeBudgets,
     &EvalVariant::decode_budget},
};

constexpr std::string_view kAgnostic = kModes.back();

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

bool reads_all(const EvalVariant& variant) {
  return variant.decode_attention == kDecodeAttentions.front();
}

// As a step obeys it.
std::string decode_budget_text(const EvalVariant& variant) {
  if (variant.decode_budget != kDecodeBudgets.front()) return variant.decode_budget;
  const DecodeMethodInfo* method = find_decode_method(variant.decode_attention);
  return method == nullptr ? "" : std::string(method->default_budget);
}

// A field of an element as the text that a user would write: strings and whole numbers.
Result<std::string> plain_text(const JsonRecord& record, std::string_view field) {
  const nlohmann::json& value = record.value().at(std::string(field));
  if (value.is_number_integer()) return value.dump();
  return record.text(field);
}

Result<void> set_whole(const JsonRecord& record, std::string_view field, long long most,
                       int& target) {
  RESTKV_ASSIGN(const long long value, record.integer(field));
  if (value < 0 || value > most) {
    return record.wrong_field(field, "a whole number from 0 to " + std::to_string(most));
  }
  target = static_cast<int>(value);
  return {};
}

Result<void> set_type(const JsonRecord& record, std::string_view field, KvType& target) {
  RESTKV_ASSIGN(const std::string name, record.text(field));
  const auto type = kv_type_by_name(name);
  if (!type) return record.wrong_field(field, "one of " + listed(kAllKvTypes, kv_type_name));
  target = *type;
  return {};
}

Result<void> set_protect(const JsonRecord& record, Protect& target) {
  RESTKV_ASSIGN(const std::string name, record.text("protect"));
  for (const Protect known : {Protect::kDefault, Protect::kPaper}) {
    if (protect_name(known) != name) continue;
    target = known;
    return {};
  }
  return record.wrong_field("protect", "'default' or 'paper'");
}

// Only the fields that an element may have; false when it is none of them.
Result<bool> set_field(const JsonRecord& record, const std::string& field, EvalVariant& variant) {
  constexpr int kMost = 1 << 20;
  KvOptions& kv = variant.kv;
  if (field == "window") {
    RESTKV_TRY(set_whole(record, field, kMost, kv.window));
  } else if (field == "sinks") {
    RESTKV_TRY(set_whole(record, field, kMost, kv.sinks));
  } else if (field == "protect") {
    RESTKV_TRY(set_protect(record, kv.protect));
  } else if (field == "type_k" || field == "type_v") {
    RESTKV_TRY(set_type(record, field, field == "type_k" ? kv.type_k : kv.type_v));
  } else if (field == "seed") {
    int seed = 0;
    RESTKV_TRY(set_whole(record, field, 0x7FFFFFFF, seed));
    kv.seed = static_cast<std::uint64_t>(seed);
  } else {
    RESTKV_ASSIGN(const std::string text, plain_text(record, field));
    if (field == "policy" || field == "allocator") {
      RESTKV_ASSIGN(NamedParams named, parse_named_params(text));
      const bool policy = field == "policy";
      (policy ? kv.policy : kv.allocator) = std::move(named.name);
      (policy ? kv.policy_options : kv.allocator_options) = std::move(named.assignments);
    } else if (field == "budget") {
      RESTKV_ASSIGN(kv.budget, Budget::parse(text));
    } else {
      const auto* const dimension = std::ranges::find(kDimensions, field, &VariantDimension::field);
      if (dimension == std::end(kDimensions)) return false;
      RESTKV_TRY(set_dimension(variant, *dimension, text));
    }
  }
  return true;
}

Error at(const JsonRecord& record, const Error& error) {
  if (error.message.starts_with(record.where())) return error;
  return {error.code, record.where() + ": " + error.message};
}

Result<EvalVariant> variant_of(const JsonRecord& record, const EvalVariant& defaults) {
  if (!record.value().is_object()) return record.wrong("is no object");
  EvalVariant variant = defaults;
  for (const auto& [field, value] : record.value().items()) {
    if (value.is_null()) continue;  // as variant_json() writes what does not matter
    const auto known = set_field(record, field, variant);
    if (!known) return at(record, known.error());
    if (*known) continue;
    std::string fields;
    const Json all = variant_json(defaults);
    for (const auto& [name, _] : all.items()) {
      fields += (fields.empty() ? "" : ", ") + name;
    }
    return record.wrong("there is no field '" + field + "' (known: " + fields + ")");
  }
  if (const auto fits = check_kv_options(options_of(variant)); !fits) {
    return at(record, fits.error());
  }
  return variant;
}

}  // namespace

std::span<const VariantDimension> variant_dimensions() { return kDimensions; }

bool dimension_matters(const EvalVariant& variant, const VariantDimension& dimension) {
  const bool about_dropping =
      dimension.value == &EvalVariant::schedule || dimension.value == &EvalVariant::mode;
  return !(about_dropping && keeps_all(variant));
}

bool reads_question_later(const EvalVariant& variant) {
  return variant.mode == kAgnostic && !keeps_all(variant);
}

Result<void> set_dimension(EvalVariant& variant, const VariantDimension& dimension,
                           std::string_view value) {
  std::string_view name = value;
  if (dimension.value == &EvalVariant::prefill && !value.starts_with(kPrefills.front())) {
    name = value.substr(0, value.find(':'));  // a pattern may have options
  }
  bool is_known = std::ranges::find(dimension.known, name) != dimension.known.end();
  std::string others;
  if (dimension.value == &EvalVariant::decode_budget) {
    is_known |= Budget::parse(value).ok();
    others = ", or like 1024 or 10%";
  }
  if (dimension.value == &EvalVariant::schedule) {
    is_known |= Schedule::parse(value).ok();
    others = ", every:TOKENS, chunk:TOKENS";
  }
  if (!is_known) {
    return Error{ErrorCode::kInvalidArgument,
                 "unknown " + std::string(dimension.field) + " '" + std::string(value) +
                     "' (known: " + listed(dimension.known, std::identity()) + others + ")"};
  }
  if (name != value) {
    RESTKV_ASSIGN([[maybe_unused]] const auto checked, parse_prefill_attention(value));
  }
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
               {"seed", kv.seed}};
  const EvalVariant usual;
  for (const VariantDimension& dimension : kDimensions) {
    const EvalVariant& from = dimension_matters(variant, dimension) ? variant : usual;
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
    if (field == "policy" || field == "budget" || value.is_null() || value == usual[field]) {
      continue;
    }
    // No other policy draws numbers.
    if (field == "decode_budget" && keeps_all(variant)) continue;  // said by the budget
    if (field == "seed" && variant.kv.policy != "random") continue;
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    label += " " + (field == "allocator" ? text : field + "=" + text);
  }
  return label;
}

Result<std::vector<EvalVariant>> read_variants(const std::string& path,
                                               const EvalVariant& defaults) {
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  const JsonRecord list(file, path);
  RESTKV_ASSIGN(const std::vector<JsonRecord> elements, list.elements());
  if (elements.empty()) return list.wrong("holds no variant");
  std::vector<EvalVariant> variants;
  std::set<std::string> seen;
  for (const JsonRecord& element : elements) {
    RESTKV_ASSIGN(EvalVariant variant, variant_of(element, defaults));
    if (!seen.insert(variant_json(variant).dump()).second) {
      return element.wrong("is the same variant as one before it");
    }
    variants.push_back(std::move(variant));
  }
  return variants;
}

KvOptions options_of(const EvalVariant& variant) {
  KvOptions kv = variant.kv;
  if (!keeps_all(variant)) {
    kv.schedule = Schedule::parse(variant.schedule).value();  // set_dimension() checked it
  }
  kv.decode.method = variant.decode_attention;
  if (!reads_all(variant) && variant.decode_budget != kDecodeBudgets.front()) {
    kv.decode.budget = Budget::parse(variant.decode_budget).value();
  }
  return kv;
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
