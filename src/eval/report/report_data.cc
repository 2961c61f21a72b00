// The formats that programs read.

#include <nlohmann/json.hpp>

#include "base/names.h"
#include "engine/result_labels.h"
#include "eval/number_scores.h"
#include "eval/report/report.h"
#include "eval/report/row_notes.h"
#include "eval/row_choice.h"

namespace restkv {
namespace {

using Json = nlohmann::ordered_json;

constexpr ReportFormat kFormats[] = {
    {"html", "one page with tables, curves and samples", report_html},
    {"md", "tables in Markdown", report_markdown},
    {"csv", "the rows", report_csv},
    {"json", "rows and summary", report_json},
};

Json value_of(const EvalRow& row, const EvalColumn& column) {
  return std::visit([&](auto member) { return Json(row.*member); }, column.member);
}

Json or_null(const auto& optional) { return optional ? Json(*optional) : Json(nullptr); }

Json comparison_json(const Comparison& comparison) {
  return {{"pairs", comparison.pairs},
          {"difference", comparison.difference.estimate},
          {"low", comparison.difference.low},
          {"high", comparison.difference.high},
          {"p", comparison.p},
          {"p_holm", comparison.p_holm},
          {"p_bh", comparison.p_bh},
          {"samples_needed", or_null(comparison.samples_needed)},
          {"detectable", or_null(comparison.detectable)}};
}

Json entry_json(const SummaryEntry& entry, const std::optional<NumberScores>& numbers) {
  const ScoreSpread& spread = entry.spread;
  return {
      {"model", entry.model},
      {"level", summary_level_name(entry.level)},
      {"name", entry.name},
      {"length", entry.length},
      {"variant", entry.variant},
      {"policy", entry.policy},
      {"budget", entry.budget},
      {"allocator", entry.allocator},
      {"samples", entry.samples},
      {"mean", entry.mean},
      {"score_strict", numbers ? Json(numbers->strict) : Json(nullptr)},
      {"score_flexible", numbers ? Json(numbers->flexible) : Json(nullptr)},
      {"variance_over_samples", or_null(spread.over_samples)},
      {"variance_over_tasks", or_null(spread.over_tasks)},
      {"variance_over_lengths", or_null(spread.over_lengths)},
      {"variance_over_seeds", or_null(spread.over_seeds)},
      {"sampling_noise", or_null(spread.sampling_noise)},
      {"kept_share", entry.kept_share},
      {"read_share", entry.read_share},
      {"bytes", entry.bytes},
      {"rows_read", entry.reading ? Json(entry.reading->rows) : Json(nullptr)},
      {"bytes_read", entry.reading ? Json(entry.reading->bytes) : Json(nullptr)},
      {"truncated", entry.truncated},
      {"looping", entry.looping},
      {"unanswered", entry.unanswered},
      {"against_full", entry.against_full ? comparison_json(*entry.against_full) : Json(nullptr)}};
}

Json row_json(const EvalRow& row) {
  Json json;
  for (const EvalColumn& column : eval_columns()) {
    const std::string name = column.name;
    if (name == "kept") continue;
    json[name] = value_of(row, column);
    // Lists and objects that the store holds as text.
    if (name != "answers" && name != "variant_json" && name != "settings") continue;
    Json parsed = Json::parse(json[name].get<std::string>(), nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_discarded()) json[name] = std::move(parsed);
  }
  if (row.depth < 0) json["depth"] = nullptr;
  const auto numbers = number_scores(row);
  json["score_strict"] = numbers ? Json(numbers->strict) : Json(nullptr);
  json["score_flexible"] = numbers ? Json(numbers->flexible) : Json(nullptr);
  json["publication"] = publication_of(row.policy);
  const std::string_view budgets = budgets_label(row.allocator);
  json["budgets"] = budgets.empty() ? Json(nullptr) : Json(budgets);
  json["approximation"] = is_approximation(row.policy, row.schedule);
  const std::string sizes = row_block_sizes(row);
  json["block_sizes"] = sizes.empty() ? Json(nullptr) : Json(sizes);
  return json;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::span<const ReportFormat> report_formats() { return kFormats; }

Result<const ReportFormat*> find_report_format(std::string_view name) {
  for (const ReportFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return Error{ErrorCode::kInvalidArgument, "unknown format '" + std::string(name) + "' (known: " +
                                                listed(kFormats, &ReportFormat::name) + ")"};
}

std::string report_json(const ReportData& data) {
  Json json = {{"title", data.title},
               {"rows", Json::array()},
               {"summary", Json::array()},
               {"methods", Json::array()}};
  for (const EvalRow& row : data.rows) json["rows"].push_back(row_json(row));
  const std::vector<EvalRow> once = without_repeats(data.rows);
  for (const SummaryEntry& entry : data.summary.entries) {
    json["summary"].push_back(entry_json(entry, mean_number_scores(once, entry)));
  }
  for (const MethodComparison& methods : data.summary.methods) {
    Json entry = {{"model", methods.model},
                  {"suite", methods.suite},
                  {"budget", methods.budget},
                  {"first", methods.first},
                  {"second", methods.second}};
    entry.update(comparison_json(methods.comparison));
    json["methods"].push_back(std::move(entry));
  }
  return json.dump(1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

std::string report_csv(const ReportData& data) {
  std::string text;
  const auto line = [&text](const auto& field) {
    bool first = true;
    for (const EvalColumn& column : eval_columns()) {
      if (std::string_view(column.name) == "kept") continue;
      text += (first ? "" : ",") + field(column);
      first = false;
    }
    text += "\r\n";
  };
  line([](const EvalColumn& column) { return std::string(column.name); });
  for (const EvalRow& row : data.rows) {
    line([&row](const EvalColumn& column) {
      const Json value = value_of(row, column);
      return value.is_string() ? csv_field(value.get<std::string>()) : value.dump();
    });
  }
  return text;
}

}  // namespace restkv
