#pragma once

// Rows for the tests of the study's text.

#include <string>

#include "eval/report/report.h"

namespace restkv {

// Of RULER at 2048 tokens. policy: with its options.
inline void add_row(ReportData& data, int sample, const std::string& policy,
                    const std::string& budget, double score) {
  EvalRow row;
  row.model = "m.gguf";
  row.suite = "ruler";
  row.task = "ruler/vt";
  row.length = 2048;
  row.seed = 42;
  row.sample = std::to_string(sample);
  row.policy = policy.substr(0, policy.find(':'));
  row.budget = budget;
  row.variant = policy + (budget.empty() ? "" : " " + budget);
  row.score = score;
  data.rows.push_back(row);
}

}  // namespace restkv
