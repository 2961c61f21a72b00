#include "cli/bench_output.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/quote.h"
#include "cli/bench_row.h"
#include "cli/kv_report.h"

namespace restkv {
namespace {

constexpr std::array<std::pair<std::string_view, BenchFormat>, 5> kFormats = {
    {{"md", BenchFormat::kMarkdown},
     {"csv", BenchFormat::kCsv},
     {"json", BenchFormat::kJson},
     {"jsonl", BenchFormat::kJsonl},
     {"sql", BenchFormat::kSql}}};

// "a" -> "a" between quotes, with the quotes inside doubled.
std::string between(char quote, std::string_view text) {
  std::string out(1, quote);
  for (const char c : text) {
    out += c;
    if (c == quote) out += c;
  }
  return out + quote;
}

std::string field_of(const BenchRow& row, std::string_view name) {
  const std::vector<Field> fields = fields_of(row);
  return std::ranges::find(fields, name, &Field::name)->value;
}

// ---- for people ----------------------------------------------------------------------------

class MarkdownWriter : public BenchWriter {
 public:
  explicit MarkdownWriter(const BenchColumns& columns) : columns_(columns) {}

  std::string row(const BenchRow& row) override {
    const Cells cells = cells_of(row);
    std::string text;
    if (first_) {
      std::string rule;
      for (const Cell& cell : cells) {
        text += "| " + padded(cell, cell.name) + " ";
        rule += "| " + std::string(width(cell) - 1, '-') + (cell.left ? "- " : ": ");
      }
      text += "|\n" + rule + "|\n";
      first_ = false;
    }
    for (const Cell& cell : cells) text += "| " + padded(cell, cell.value) + " ";
    return text + "|\n";
  }

 private:
  struct Cell {
    std::string_view name;
    std::size_t width;
    bool left;
    std::string value;
  };
  using Cells = std::vector<Cell>;

  static std::size_t width(const Cell& cell) { return std::max(cell.width, cell.name.size()); }
  static std::string padded(const Cell& cell, std::string_view text) {
    const std::string space(width(cell) - std::min(width(cell), text.size()), ' ');
    return cell.left ? std::string(text) + space : space + std::string(text);
  }
  static std::string file_name(const BenchRow& row) {
    return std::filesystem::path(row.model.path).filename().string();
  }
  static std::string mib(std::size_t bytes) {
    return format("%.1f", static_cast<double>(bytes) / 1048576.0);
  }

  Cells cells_of(const BenchRow& row) {
    const KvOptions& kv = row.test.kv;
    const std::vector<double> rates = sample_rates(row);
    Cells cells;
    cells.push_back({"model", 28, true, row.model_type});
    if (columns_.file) cells.push_back({"file", columns_.file_width, true, file_name(row)});
    cells.push_back({"MiB", 8, false, mib(row.model.weights.all_bytes)});
    cells.push_back({"threads", 7, false, std::to_string(row.test.n_threads)});
    if (columns_.batch) cells.push_back({"batch", 7, false, std::to_string(row.test.n_batch)});
    if (columns_.types) {
      cells.push_back({"type_k", 6, false, std::string(kv_type_name(kv.type_k))});
      cells.push_back({"type_v", 6, false, std::string(kv_type_name(kv.type_v))});
    }
    cells.push_back({"policy", columns_.policy_width, true, policy_text(kv)});
    cells.push_back({"budget", 7, false, row.kv_budget});
    if (columns_.allocator)
      cells.push_back({"allocator", columns_.allocator_width, true, allocator_text(kv)});
    if (columns_.granularity) {
      cells.push_back({"granularity", 11, true, std::string(granularity_name(kv.granularity))});
    }
    cells.push_back({"schedule", 8, true, schedule_text(kv.policy, kv.schedule.text())});
    cells.push_back({"mode", 5, true, field_of(row, "kv_mode")});
    if (columns_.prefill) {
      cells.push_back({"prefill", columns_.prefill_width, true, prefill_text(row.test.prefill)});
      const double percent = 100.0 * mean_of(row.prefill_density);
      cells.push_back(
          {"density", 7, false, row.prefill_density.empty() ? "" : format("%.1f %%", percent)});
    }
    if (columns_.decode) {
      cells.push_back({"decode", columns_.decode_width, true, decode_text(kv)});
    }
    if (columns_.fill) {
      const bool filled = row.test.n_depth > 0;
      cells.push_back({"fill", 9, true, filled ? std::string(bench_fill_name(row.fill)) : "-"});
    }
    for (const Field& field : fields_of(row)) {
      if (std::ranges::find(columns_.fields, field.name) == columns_.fields.end()) continue;
      const std::size_t widest = field.name == "products" ? 20 : field.value.size();
      cells.push_back({field.name, widest, field.kind == FieldKind::kText, field.value});
    }
    cells.push_back({"test", 20, true, test_name(row)});
    cells.push_back(
        {"t/s", 18, false, format("%.2f +- %.2f", mean_of(rates), deviation_of(rates))});
    cells.push_back(
        {"ttft ms", 9, false, row.ttft_ms.empty() ? "" : format("%.1f", mean_of(row.ttft_ms))});
    cells.push_back({"KV MiB", 8, false, mib(row.kv_bytes)});
    cells.push_back(
        {"peak MiB", 8, false, row.peak_rss_bytes ? mib(*row.peak_rss_bytes) : std::string()});
    if (columns_.limit) {
      const LimitShare share = limit_share(row).value_or(LimitShare{});
      cells.push_back({"of the limit", 18, true,
                       format("%.0f %% ", 100.0 * share.share) + std::string(share.limit)});
    }
    return cells;
  }

  BenchColumns columns_;
  bool first_ = true;
};

// ---- for programs --------------------------------------------------------------------------

class CsvWriter : public BenchWriter {
 public:
  std::string row(const BenchRow& row) override {
    std::string names;
    std::string values;
    for (const Field& field : fields_of(row)) {
      names += (names.empty() ? "" : ",") + std::string(field.name);
      values += (values.empty() ? "" : ",") + between('"', field.value);
    }
    std::string text = std::exchange(first_, false) ? names + "\n" : "";
    return text + values + "\n";
  }

 private:
  bool first_ = true;
};

nlohmann::ordered_json json_of(const BenchRow& row) {
  nlohmann::ordered_json json;
  for (const Field& field : fields_of(row)) {
    nlohmann::ordered_json& value = json[std::string(field.name)];
    if (field.kind == FieldKind::kText) {
      value = field.value;
    } else if (field.value.empty()) {
      value = nullptr;
    } else if (field.kind == FieldKind::kBool) {
      value = field.value == "1";
    } else {
      value = nlohmann::ordered_json::parse(field.value);
    }
  }
  json["samples_ns"] = row.samples_ns;
  json["samples_ts"] = sample_rates(row);
  return json;
}

std::string dumped(const BenchRow& row, int indent) {
  return json_of(row).dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

class JsonWriter : public BenchWriter {
 public:
  std::string begin() override { return "["; }
  std::string row(const BenchRow& row) override {
    return std::string(std::exchange(first_, false) ? "\n" : ",\n") + dumped(row, 2);
  }
  std::string end() override { return "\n]\n"; }

 private:
  bool first_ = true;
};

class JsonlWriter : public BenchWriter {
 public:
  std::string row(const BenchRow& row) override { return dumped(row, -1) + "\n"; }
};

class SqlWriter : public BenchWriter {
 public:
  std::string row(const BenchRow& row) override {
    std::string names;
    std::string columns;
    std::string values;
    for (const Field& field : fields_of(row)) {
      const bool text = field.kind == FieldKind::kText;
      const bool integer = field.kind == FieldKind::kInteger || field.kind == FieldKind::kBool;
      const std::string comma = names.empty() ? "" : ", ";
      names += comma + std::string(field.name);
      columns += std::string(columns.empty() ? "" : ",") + "\n  " + std::string(field.name) +
                 (text      ? " TEXT"
                  : integer ? " INTEGER"
                            : " REAL");
      values += comma + (text                  ? between('\'', field.value)
                         : field.value.empty() ? std::string("NULL")
                                               : field.value);
    }
    std::string create;
    if (std::exchange(first_, false)) {
      create = "CREATE TABLE IF NOT EXISTS restkv_bench (" + columns + "\n);\n\n";
    }
    return create + "INSERT INTO restkv_bench (" + names + ") VALUES (" + values + ");\n";
  }

 private:
  bool first_ = true;
};

}  // namespace

Result<BenchFormat> parse_bench_format(std::string_view name) {
  std::string known;
  for (const auto& [known_name, format_of_name] : kFormats) {
    if (known_name == name) return format_of_name;
    known += (known.empty() ? "" : ", ") + std::string(known_name);
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown output " + quoted(name) + " (known: " + known + ")"};
}

std::unique_ptr<BenchWriter> BenchWriter::make(BenchFormat format, const BenchColumns& columns) {
  switch (format) {
    case BenchFormat::kMarkdown: return std::make_unique<MarkdownWriter>(columns);
    case BenchFormat::kCsv: return std::make_unique<CsvWriter>();
    case BenchFormat::kJson: return std::make_unique<JsonWriter>();
    case BenchFormat::kJsonl: return std::make_unique<JsonlWriter>();
    case BenchFormat::kSql: return std::make_unique<SqlWriter>();
  }
  return nullptr;
}

}  // namespace restkv
