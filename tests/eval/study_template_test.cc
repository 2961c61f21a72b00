// What the study says of the chat template.

#include "eval/study.h"

#include <gtest/gtest.h>

#include <string>

#include "eval/study_findings.h"
#include "eval/study_rows.h"

namespace restkv {
namespace {

// The same samples with and without a template; of others nothing is said.
TEST(Study, TemplatesAreComparedOnTheSameSamples) {
  ReportData with;
  ReportData plain;
  for (int i = 0; i < 30; ++i) add_row(with, i, "rest-kv", "64", i < 10 ? 1 : 0);
  for (int i = 0; i < 10; ++i) add_row(plain, i, "rest-kv", "64", 0.25);
  with.summary = summarise(with.rows, {}).value();
  plain.summary = summarise(plain.rows, {}).value();
  const std::string text = findings_without_template(with, plain);
  EXPECT_NE(text.find("The same samples of ruler/vt,"), std::string::npos) << text;
  EXPECT_NE(text.find("| ruler, m | rest-kv 64 | 100.0 | 25.0 | -75.0 (-75.0 to -75.0) | 10 |"),
            std::string::npos)
      << text;
}

// Files of one name may hold several models, and a database may call one of them otherwise.
TEST(Study, RowsWithoutATemplateAreOfTheSameModel) {
  ReportData with;
  ReportData plain;
  for (int i = 0; i < 10; ++i) {
    add_row(with, i, "rest-kv", "64", 1);
    add_row(plain, i, "rest-kv", "64", 0.25);
    plain.rows.back().fingerprint = "another";
  }
  plain.summary = summarise(plain.rows, {}).value();
  EXPECT_EQ(findings_without_template(with, plain), "");
  for (EvalRow& row : with.rows) {
    row.fingerprint = "another";
    row.model = "m.gguf another";
  }
  const std::string text = findings_without_template(with, plain);
  EXPECT_NE(text.find("| ruler, m.gguf another | rest-kv 64 | 100.0 | 25.0 |"), std::string::npos)
      << text;
}

// The same variant in another mode is held against the usual one.
TEST(Study, TheTemplatesEndIsComparedOnTheSameSamples) {
  ReportData usual;
  ReportData before_tail;
  for (int i = 0; i < 10; ++i) {
    add_row(usual, i, "rest-kv", "64", 0.25);
    add_row(usual, i, "snapkv", "64", 1);
    add_row(before_tail, i, "rest-kv", "64", 1);
    before_tail.rows.back().variant += " mode=before-tail";
  }
  usual.summary = summarise(usual.rows, {}).value();
  before_tail.summary = summarise(before_tail.rows, {}).value();
  const std::string text = findings_before_tail(usual, before_tail);
  EXPECT_TRUE(text.starts_with("The same samples of ruler/vt: ")) << text;
  EXPECT_NE(text.find("| ruler, m | rest-kv 64 | 25.0 | 100.0 | +75.0 (+75.0 to +75.0) | 10 |"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("snapkv"), std::string::npos) << text;
  EXPECT_EQ(findings_before_tail(usual, usual).find("+75"), std::string::npos);
}

}  // namespace
}  // namespace restkv
