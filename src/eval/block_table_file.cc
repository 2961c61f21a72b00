#include "eval/block_table_file.h"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/names.h"
#include "base/quote.h"
#include "eval/json_file.h"
#include "sparse/selection_plan.h"

namespace restkv {
namespace {

constexpr std::string_view kFormat = "restkv block sizes 1";
constexpr std::size_t kMostHeads = 1 << 20;
constexpr std::array<std::string_view, 2> kEstimators = {"quest", "arkvale"};
constexpr std::array<std::string_view, 3> kSummaries = {"f16", "int8", "int4"};
constexpr std::array<std::string_view, 2> kMeans = {"harmonic", "arithmetic"};

bool is_block_size(int rows) {
  return std::ranges::find(kBlockSizes, static_cast<std::size_t>(rows)) != kBlockSizes.end();
}

// Fills the sizes from [n_layer][n_kv_head]; false when they are not such an array.
bool take_sizes(const nlohmann::json& layers, BlockTable& table) {
  if (!layers.is_array() || layers.empty()) return false;
  table.n_layer = static_cast<int>(layers.size());
  for (const nlohmann::json& layer : layers) {
    if (!layer.is_array() || layer.empty() || layer.size() != layers[0].size()) return false;
    for (const nlohmann::json& rows : layer) {
      if (!rows.is_number_unsigned() || rows.get<std::uint64_t>() > 1024) return false;
      table.block_rows.push_back(rows.get<int>());
      if (!is_block_size(table.block_rows.back())) return false;
    }
    if (table.block_rows.size() > kMostHeads) return false;
  }
  table.n_kv_head = static_cast<int>(layers[0].size());
  return true;
}

// One of some words, where it is there at all.
Result<void> take_word(const JsonRecord& record, std::string_view field,
                       std::span<const std::string_view> words, std::string& target) {
  if (!record.has(field)) return {};
  RESTKV_ASSIGN(target, record.text(field));
  if (std::ranges::find(words, target) != words.end()) return {};
  return record.wrong("field " + quoted(field) + " must be one of " +
                      listed(words, std::identity()) + ", not " + quoted(std::string_view(target)));
}

// How the sizes were found.
Result<void> take_origin(const JsonRecord& record, BlockTable& table) {
  RESTKV_TRY(take_word(record, "estimator", kEstimators, table.estimator));
  RESTKV_TRY(take_word(record, "summaries", kSummaries, table.summaries));
  RESTKV_TRY(take_word(record, "mean", kMeans, table.mean));
  if (record.has("mean_rows")) {
    RESTKV_ASSIGN(const long long rows, record.integer("mean_rows"));
    if (rows < 1 || rows > 1024) return record.wrong("mean_rows is no number of rows");
    table.mean_rows = static_cast<int>(rows);
  }
  if (record.has("texts")) {
    RESTKV_ASSIGN(table.texts, record.text("texts"));
  }
  return {};
}

}  // namespace

Result<BlockTable> read_block_table(const std::string& path) {
  RESTKV_ASSIGN(const std::string text, read_data_text(path));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [&](const char* what) {
    return Error{ErrorCode::kCorrupt, path + ": " + what};
  };
  if (!json.is_object() || !json.contains("format") || !json["format"].is_string() ||
      json["format"].get<std::string>() != kFormat) {
    return wrong("not a table of block sizes (restkv calibrate writes one)");
  }
  BlockTable table{.name = path};
  if (!json.contains("fingerprint") || !json["fingerprint"].is_string()) {
    return wrong("the model's fingerprint is missing");
  }
  table.fingerprint = json["fingerprint"].get<std::string>();
  if (!json.contains("block_rows") || !take_sizes(json["block_rows"], table)) {
    return wrong("block_rows must hold 16, 32, 64 or 128 for each layer and KV head");
  }
  RESTKV_TRY(take_origin(JsonRecord(json, path), table));
  return table;
}

std::string block_table_text(const BlockTable& table, const BlockTableOrigin& origin) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  const auto n_kv_head = static_cast<std::ptrdiff_t>(table.n_kv_head);
  for (std::ptrdiff_t layer = 0; layer < table.n_layer; ++layer) {
    const auto first = table.block_rows.begin() + layer * n_kv_head;
    layers.push_back(std::vector<int>(first, first + n_kv_head));
  }
  nlohmann::ordered_json json = {
      {"format", kFormat},
      {"model", origin.model},
      {"fingerprint", table.fingerprint},
      {"estimator", table.estimator},
      {"summaries", table.summaries},
      {"sizes", kBlockSizes},
      {"mean", table.mean},
      {"mean_rows", table.mean_rows},
      {"budget", origin.budget},
      {"rows", origin.rows},
      {"texts", table.texts},
      {"texts_hash", origin.texts_hash},
      {"passages", origin.passages},
      {"held_back", origin.held_back},
      {"tokens", origin.tokens},
      {"recall", origin.recall},
      {"recall_uniform", origin.recall_uniform},
      {"block_rows", layers},
  };
  // What a table does not say, its file leaves out.
  for (const auto& [field, is_known] :
       {std::pair("estimator", !table.estimator.empty()),
        std::pair("summaries", !table.summaries.empty()), std::pair("mean", !table.mean.empty()),
        std::pair("mean_rows", table.mean_rows != 0), std::pair("texts", !table.texts.empty())}) {
    if (!is_known) json.erase(field);
  }
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace restkv
