#include "eval/report/report.h"
#include "eval/report/report_tables.h"

namespace restkv {
namespace {

std::string cell_text(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '|') safe += '\\';
    safe += c == '\n' || c == '\r' ? ' ' : c;
  }
  return safe;
}

std::string table_text(const ReportTable& table) {
  std::string text = "### " + table.title + "\n\n";
  if (!table.note.empty()) text += table.note + "\n\n";
  std::string rule;
  for (const std::string& name : table.header) {
    text += "| " + cell_text(name) + " ";
    rule += rule.empty() ? "|---" : "|---:";
  }
  text += "|\n" + rule + "|\n";
  for (const auto& row : table.rows) {
    for (const TableCell& cell : row) text += "| " + cell_text(cell.text) + " ";
    text += "|\n";
  }
  return text + "\n";
}

}  // namespace

std::string report_markdown(const ReportData& all) {
  const ReportData data = counted_once(all);
  std::string text = "# " + data.title + "\n\n";
  for (const std::string& fact : report_facts(data)) text += "- " + fact + "\n";
  text += "\n";
  for (const ReportSection& section : report_sections(data)) {
    text += "## " + section.suite + ", " + section.model + "\n\n";
    for (const ReportTable& table : section.tables) text += table_text(table);
  }
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

}  // namespace restkv
