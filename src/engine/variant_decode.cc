// What a variant does in decode: its options checked, and turned into a plan.

#include <algorithm>
#include <string>

#include "base/names.h"
#include "engine/variant.h"

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// A table is an answer to how large blocks of one estimator should be: it leaves no size to ask
// for, and says nothing about the boxes of another.
Result<void> check_table_settings(const DecodeOptions& options, const ParamValues& values) {
  const BlockTable& table = *options.table;
  const auto named =
      std::ranges::find(options.method_options, "block", &ParamValues::Assignment::first);
  if (named != options.method_options.end()) {
    return invalid("block=" + named->second + " and the block sizes of " + table.name +
                   " exclude each other");
  }
  const std::string estimator(values.choice("estimator"));
  if (!table.estimator.empty() && table.estimator != estimator) {
    return invalid(table.name + ": the block sizes were measured with the boxes of " +
                   table.estimator + ", not of " + estimator + " (" + options.method +
                   ":estimator=" + table.estimator + ")");
  }
  return {};
}

}  // namespace

Result<void> Variant::make_decode() {
  const DecodeOptions& options = options_.decode;
  decode_method_ = find_decode_method(options.method);
  if (decode_method_ == nullptr) {
    return invalid("unknown decode attention '" + options.method +
                   "' (known: " + listed(all_decode_methods(), &DecodeMethodInfo::name) + ")");
  }
  const DecodeMethodInfo& method = *decode_method_;
  const std::string name(method.name);
  RESTKV_ASSIGN(decode_params_,
                ParamValues::parse(method.name, method.params, options.method_options));
  if (options.table != nullptr && !method.takes_table) {
    return invalid(name + " takes no table of block sizes");
  }
  if (options.table != nullptr) {
    const BlockTable& table = *options.table;
    const bool complete = table.n_layer > 0 && table.n_kv_head > 0 &&
                          table.block_rows.size() == static_cast<std::size_t>(table.n_layer) *
                                                         static_cast<std::size_t>(table.n_kv_head);
    const bool known = std::ranges::all_of(table.block_rows, [](int rows) {
      return std::ranges::find(kBlockSizes, static_cast<std::size_t>(rows)) != kBlockSizes.end();
    });
    if (!complete || !known) return invalid(table.name + ": no table of block sizes 16 to 128");
    RESTKV_TRY(check_table_settings(options, decode_params_));
  }
  if (method.plan == nullptr) {
    if (options.budget) return invalid(name + " decode attention reads everything: no budget");
    return {};
  }
  selection_ = method.plan(decode_params_);
  if (options.budget) {
    decode_budget_ = *options.budget;
  } else {
    RESTKV_ASSIGN(decode_budget_, Budget::parse(method.default_budget));
  }
  return {};
}

std::size_t Variant::decode_rows(std::size_t rows) const {
  return decode_budget_rows(decode_budget_, rows);
}

std::size_t Variant::block_rows(std::size_t layer, std::size_t head) const {
  const BlockTable* table = options_.decode.table.get();
  if (table == nullptr) return selection_->block_rows;
  const auto n_kv_head = static_cast<std::size_t>(table->n_kv_head);
  return static_cast<std::size_t>(table->block_rows[layer * n_kv_head + head]);
}

std::string Variant::decode_budget_text() const {
  return selection_ ? decode_budget_.text() : "100%";
}

}  // namespace restkv
