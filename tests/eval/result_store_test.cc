#include "eval/result_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "support/process_folder.h"

namespace restkv {
namespace {

namespace fs = std::filesystem;

class ResultStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove(path_); }
  void TearDown() override { fs::remove(path_); }
  ResultStore made() {
    auto store = ResultStore::open_or_make(path_);
    EXPECT_TRUE(store.ok()) << store.error().message;
    return std::move(store).value();
  }
  void execute(const std::string& sql) const {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    sqlite3_close(database);
  }
  std::string path_ = process_file("store.db");
};

// A row whose every field is its own.
EvalRow row_of(const std::string& sample, const std::string& variant) {
  EvalRow row;
  std::int64_t number = 1;
  for (const EvalColumn& column : eval_columns()) {
    ++number;
    if (const auto* const text = std::get_if<0>(&column.member)) {
      row.** text = std::string(column.name) + " 'x'\n";
    } else if (const auto* const whole = std::get_if<1>(&column.member)) {
      row.** whole = number << 33;
    } else {
      row.**std::get_if<2>(&column.member) = static_cast<double>(number) + 0.125;
    }
  }
  row.sample = sample;
  row.variant_json = variant;
  return row;
}

void expect_equal(const EvalRow& one, const EvalRow& other) {
  for (const EvalColumn& column : eval_columns()) {
    std::visit([&](auto member) { EXPECT_EQ(one.*member, other.*member) << column.name; },
               column.member);
  }
}

TEST_F(ResultStoreTest, GivesBackWhatItWasGiven) {
  EvalRow row = row_of("a", "v");
  row.prediction = std::string("bytes \0 \xFF\n", 10);
  const EvalPrompt prompt{.hash = "h", .pieces = {"a ", "\"b\"", "\xE2\x82"}};
  ASSERT_TRUE(made().add({&row, 1}, &prompt).ok());
  const auto store = ResultStore::open(path_);
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto rows = store->rows();
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 1U);
  expect_equal(rows->front(), row);
  const auto prompts = store->prompts();
  ASSERT_TRUE(prompts.ok());
  EXPECT_EQ(prompts->at("h").pieces, (std::vector<std::string>{"a ", "\"b\"", "\xEF\xBF\xBD"}));
}

TEST_F(ResultStoreTest, ARowIsNeverThereTwiceAndTheFirstStays) {
  ResultStore store = made();
  EvalRow row = row_of("a", "v");
  row.score = 1;
  ASSERT_TRUE(store.add({&row, 1}, nullptr).ok());
  EvalRow later = row;
  later.score = 0;
  const EvalRow rows[] = {later, row_of("a", "w")};
  ASSERT_TRUE(store.add(rows, nullptr).ok());
  const auto all = store.rows();
  ASSERT_EQ(all->size(), 2U);
  EXPECT_EQ(all->front().score, 1);
}

TEST_F(ResultStoreTest, FinishedTellsTheVariantsOfOneSample) {
  ResultStore store = made();
  const EvalRow rows[] = {row_of("a", "v"), row_of("a", "w"), row_of("b", "u")};
  ASSERT_TRUE(store.add(rows, nullptr).ok());
  const auto found = store.finished(row_of("a", ""));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, (std::map<std::string, std::string>{{"v", rows[0].prompt_hash},
                                                        {"w", rows[0].prompt_hash}}));
  EvalRow other = row_of("a", "");
  ++other.seed;
  EXPECT_TRUE(store.finished(other)->empty());
}

// A program that died between two rows leaves neither.
TEST_F(ResultStoreTest, AHalfWrittenPromptIsNotThere) {
  {
    ResultStore store = made();
    const EvalRow row = row_of("a", "v");
    ASSERT_TRUE(store.add({&row, 1}, nullptr).ok());
  }
  const std::string copy = path_ + ".copy";
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database,
                         "PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE results SET score = 99",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  fs::copy_file(path_, copy, fs::copy_options::overwrite_existing);
  if (fs::exists(path_ + "-journal")) {
    fs::copy_file(path_ + "-journal", copy + "-journal", fs::copy_options::overwrite_existing);
  }
  sqlite3_close(database);
  const auto store = ResultStore::open(copy);
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto rows = store->rows();
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_NE(rows->front().score, 99);
  fs::remove(copy);
  fs::remove(copy + "-journal");
}

TEST_F(ResultStoreTest, WhatIsNoDatabaseOfOursIsRefused) {
  EXPECT_EQ(ResultStore::open(path_).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(fs::exists(path_));
  std::ofstream(path_) << std::string(5000, 'x');
  for (auto* const open : {&ResultStore::open, &ResultStore::open_or_make}) {
    const auto store = open(path_);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(store.error().message.find(path_), std::string::npos);
  }
  fs::remove(path_);
  execute("CREATE TABLE other (x)");
  EXPECT_EQ(ResultStore::open_or_make(path_).error().code, ErrorCode::kCorrupt);
  fs::remove(path_);
  {
    const ResultStore store = made();
  }
  execute("PRAGMA user_version = 99");
  const auto later = ResultStore::open(path_);
  ASSERT_FALSE(later.ok());
  EXPECT_EQ(later.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(later.error().message.find("99"), std::string::npos);
}

// Files of version 1 had no rows read; what they hold stays, and new rows come beside it.
TEST_F(ResultStoreTest, AnOlderFileGoesOn) {
  {
    ResultStore store = made();
    const EvalRow row = row_of("a", "v");
    ASSERT_TRUE(store.add({&row, 1}, nullptr).ok());
  }
  for (const char* column : {"rows_read", "rows_held", "summary_bytes"}) {
    execute("ALTER TABLE results DROP COLUMN " + std::string(column));
  }
  execute("PRAGMA user_version = 1");
  {
    // A file that must not be changed is read as it is.
    const std::string kept = path_ + ".kept";
    std::filesystem::copy_file(path_, kept, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::permissions(kept, std::filesystem::perms::owner_read);
    const auto store = ResultStore::open(kept);
    ASSERT_TRUE(store.ok()) << store.error().message;
    const auto rows = store->rows();
    ASSERT_TRUE(rows.ok()) << rows.error().message;
    ASSERT_EQ(rows->size(), 1U);
    EXPECT_EQ(rows->front().score, row_of("a", "v").score);
    EXPECT_EQ(rows->front().summary_bytes, 0);
    std::filesystem::remove(kept);
  }
  for (int again = 0; again < 2; ++again) {
    auto store = ResultStore::open(path_);
    ASSERT_TRUE(store.ok()) << store.error().message;
    const auto rows = store->rows();
    ASSERT_TRUE(rows.ok()) << rows.error().message;
    ASSERT_EQ(rows->size(), 1U);
    EXPECT_EQ(rows->front().score, row_of("a", "v").score);
    EXPECT_EQ(rows->front().rows_read, 0);
  }
  ResultStore store = made();
  EvalRow row = row_of("b", "v");
  row.rows_read = 2.5;
  ASSERT_TRUE(store.add({&row, 1}, nullptr).ok());
  EXPECT_EQ(store.rows()->back().rows_read, 2.5);
}

TEST_F(ResultStoreTest, ATruncatedDatabaseIsAnErrorAndNoCrash) {
  {
    ResultStore store = made();
    for (int i = 0; i < 50; ++i) {
      const EvalRow row = row_of(std::to_string(i), "v");
      ASSERT_TRUE(store.add({&row, 1}, nullptr).ok());
    }
  }
  const auto size = fs::file_size(path_);
  for (const std::uintmax_t part : {size / 2, std::uintmax_t{4096}, std::uintmax_t{100}}) {
    fs::resize_file(path_, part);
    const auto store = ResultStore::open(path_);
    if (!store.ok()) {
      EXPECT_EQ(store.error().code, ErrorCode::kCorrupt) << part;
      continue;
    }
    EXPECT_FALSE(store->rows().ok()) << part;
  }
}

TEST_F(ResultStoreTest, AFolderThatIsNotThereIsNamed) {
  const auto store = ResultStore::open_or_make(process_file("no/such/folder.db"));
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().code, ErrorCode::kIo);
  EXPECT_NE(store.error().message.find("no/such/folder.db"), std::string::npos);
}

}  // namespace
}  // namespace restkv
