// Variants from a file.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/names.h"
#include "eval/json_file.h"
#include "eval/variant.h"

namespace restkv {
namespace {

using Json = nlohmann::ordered_json;

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

Result<void> set_group(const JsonRecord& record, GroupScore& target) {
  RESTKV_ASSIGN(const std::string name, record.text("group"));
  const auto score = parse_group_score(name);
  if (!score) return record.wrong_field("group", "'mean' or 'max'");
  target = *score;
  return {};
}

Result<void> set_protect(const JsonRecord& record, Protect& target) {
  RESTKV_ASSIGN(const std::string name, record.text("protect"));
  if (name == "default" || name == "paper") {
    target = name == "paper" ? Protect::kPaper : Protect::kDefault;
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
  } else if (field == "group") {
    RESTKV_TRY(set_group(record, kv.group_score));
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
      const auto dimensions = variant_dimensions();
      const auto dimension = std::ranges::find(dimensions, field, &VariantDimension::field);
      if (dimension == dimensions.end()) return false;
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
    fields += ", group, decode_table";
    return record.wrong("there is no field '" + field + "' (known: " + fields + ")");
  }
  if (const auto fits = check_variant(variant); !fits) return at(record, fits.error());
  return variant;
}

}  // namespace

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

}  // namespace restkv
