#include "eval/report/row_notes.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "restkv/decode_options.h"

namespace restkv {
namespace {

// The value of an option in "name=value name=value"; empty when it is not there.
std::string option_of(std::string_view options, std::string_view name) {
  while (!options.empty()) {
    const std::size_t blank = std::min(options.find(' '), options.size());
    const std::string_view entry = options.substr(0, blank);
    options.remove_prefix(std::min(blank + 1, options.size()));
    const std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos && entry.substr(0, equals) == name) {
      return std::string(entry.substr(equals + 1));
    }
  }
  return {};
}

// Whether a setting leaves it to the model: nothing, no kind of position scaling, or a list of
// such.
bool is_the_models_own(const nlohmann::ordered_json& value) {
  if (value.is_array()) return std::ranges::all_of(value, is_the_models_own);
  return value.is_null() || value == -1;
}

}  // namespace

std::string row_block_sizes(const EvalRow& row) {
  DecodeReport decode;
  if (std::string block = option_of(row.options, "decode.block"); !block.empty()) {
    decode.options.emplace_back("block", std::move(block));
  }
  decode.table = option_of(row.options, "decode.table");
  decode.table_mean = option_of(row.options, "decode.table_mean");
  const std::string rows = option_of(row.options, "decode.table_mean_rows");
  std::from_chars(rows.data(), rows.data() + rows.size(), decode.table_mean_rows);
  decode.table_texts = option_of(row.options, "decode.table_texts");
  return block_sizes_text(decode);
}

std::string row_settings(const EvalRow& row) {
  const auto settings = nlohmann::ordered_json::parse(row.settings, nullptr, false);
  if (!settings.is_object()) return row.settings;
  std::string text;
  for (const auto& [name, value] : settings.items()) {
    if (is_the_models_own(value)) continue;
    text += text.empty() ? "" : ", ";
    text += name + " " + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

}  // namespace restkv
