// What the engine says of the names in a list of variants, in a few lines: eval_data_fuzz is about
// reading files, and the methods themselves would make its build ten times as long. Builds without
// libFuzzer, which replay the corpus, have the real ones.

#include <algorithm>
#include <array>

#include "restkv/decode_options.h"
#include "restkv/policy.h"
#include "restkv/prefill_attention.h"

namespace restkv {
namespace {

constexpr PolicyInfo policy(std::string_view name, bool keeps_all) {
  PolicyInfo info = {};
  info.name = name;
  info.keeps_all = keeps_all;
  return info;
}

constexpr DecodeMethodInfo method(std::string_view name, std::string_view budget,
                                  bool takes_table) {
  DecodeMethodInfo info = {};
  info.name = name;
  info.default_budget = budget;
  info.takes_table = takes_table;
  return info;
}

constexpr std::array kPolicies = {policy("full", true), policy("random", false),
                                  policy("rest-kv", false)};
constexpr std::array kMethods = {method("ab-sparse", "1024", true),
                                 method("arkvale", "1024", false), method("dense", "", false),
                                 method("quest", "10%", false)};

template <typename Table>
auto entry_of(const Table& table, std::string_view name) -> decltype(table.data()) {
  const auto found = std::ranges::find(table, name, [](const auto& entry) { return entry.name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const PolicyInfo* find_policy(std::string_view name) { return entry_of(kPolicies, name); }

const DecodeMethodInfo* find_decode_method(std::string_view name) {
  return entry_of(kMethods, name);
}

Result<PrefillAttention> parse_prefill_attention(std::string_view text) {
  RESTKV_ASSIGN(NamedParams named, parse_named_params(text));
  return PrefillAttention{.pattern = std::move(named.name),
                          .options = std::move(named.assignments)};
}

Result<void> check_combination(const KvOptions& options, const PrefillAttention& /*attention*/) {
  if (find_policy(options.policy) != nullptr) return {};
  return Error{ErrorCode::kInvalidArgument, "there is no such policy"};
}

}  // namespace restkv
