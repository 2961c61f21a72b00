// Rows say which build made them, and stand beside rows of other builds.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/eval_runs.h"
#include "eval/result_store.h"

namespace restkv::testing {
namespace {

// "0.1.0 983b362", as `restkv --version` says it: "restkv 0.1.0 (983b362)".
std::string version_of_program() {
  const ProgramEnd end = run_program({"--version"});
  EXPECT_EQ(end.status, 0) << end.err;
  std::string version;
  for (const char c : end.out.substr(std::string("restkv ").size())) {
    if (c != '(' && c != ')' && c != '\n') version += c;
  }
  return version;
}

std::vector<EvalRow> rows_of(const std::string& database) {
  const auto store = ResultStore::open(database);
  EXPECT_TRUE(store.ok());
  auto rows = store->rows();
  EXPECT_TRUE(rows.ok());
  return std::move(rows).value();
}

TEST(EvalVersions, RowsNameTheBuildThatMadeThem) {
  const std::string database = fresh("named_build.db");
  const ProgramEnd end = run_program(eval_args(database, {"--policies", "full", "--samples", "1"}));
  ASSERT_EQ(end.status, 0) << end.err;
  const std::string version = version_of_program();
  ASSERT_NE(version.find(' '), std::string::npos) << version;
  for (const EvalRow& row : rows_of(database)) EXPECT_EQ(row.version, version);
  const ProgramEnd text = run_program({"report", database});
  EXPECT_NE(text.out.find("restkv " + version + ", kernels"), std::string::npos) << text.out;
}

// The build is no part of what a row is one of.
TEST(EvalVersions, ADatabaseOfAnotherBuildGoesOn) {
  const std::string now = fresh("of_now.db");
  ASSERT_EQ(run_program(eval_args(now, with(kThree, {"--samples", "1"}))).status, 0);
  std::vector<EvalRow> rows = rows_of(now);
  ASSERT_EQ(rows.size(), 3U);
  const std::string version = rows[0].version;
  // Before rows named the commit.
  for (EvalRow& row : rows) row.version = "0.1.0";
  const std::string before = fresh("of_before.db");
  ASSERT_TRUE(ResultStore::open_or_make(before)->add(rows, nullptr).ok());
  const ProgramEnd end = run_program(eval_args(before, with(kThree, {"--samples", "2"})));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("3 rows added"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("3 were there"), std::string::npos) << end.out;
  const ProgramEnd text = run_program({"report", before});
  EXPECT_NE(text.out.find("restkv 0.1.0; " + version + ", kernels"), std::string::npos) << text.out;
}

}  // namespace
}  // namespace restkv::testing
