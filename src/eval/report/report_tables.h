#pragma once

// The tables that every report for people has, as text in cells.

#include <optional>
#include <string>
#include <vector>

#include "eval/report/report.h"

namespace restkv {

struct TableCell {
  std::string text;
  std::optional<double> shade = {};  // 0 .. 1: a score that may be drawn as a colour
};

struct ReportTable {
  std::string title;
  std::string note;  // how to read it; one paragraph
  std::vector<std::string> header;
  std::vector<std::vector<TableCell>> rows;  // each as wide as the header; the first cell is a name
};

// The tables of one suite under one model.
struct ReportSection {
  std::string model;
  std::string suite;
  std::vector<ReportTable> tables;
};
std::vector<ReportSection> report_sections(const ReportData& data);

// What tables, maps and the list of samples are made of: no row twice (without_repeats()).
[[nodiscard]] ReportData counted_once(const ReportData& data);

// Models, versions, settings, wordings: a line for each thing that must be named with the scores.
std::vector<std::string> report_facts(const ReportData& data);

// "12.3", of a share.
[[nodiscard]] std::string percent_text(double share);
[[nodiscard]] std::string mib_text(double bytes);  // "3.05"
// "0.041", "< 0.001".
[[nodiscard]] std::string p_text(double p);

}  // namespace restkv
