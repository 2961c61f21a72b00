#include "cli/number_lists.h"

#include <gtest/gtest.h>

namespace restkv {
namespace {

using Numbers = std::vector<long long>;

Numbers list(const char* text) { return parse_number_list("-p", text, 0, 1 << 20).value(); }
std::string error(const char* text) {
  const auto parsed = parse_number_list("-p", text, 1, 1 << 20);
  EXPECT_FALSE(parsed.ok()) << text;
  return parsed.ok() ? "" : parsed.error().message;
}

// As llama-bench's README writes them.
TEST(NumberList, ReadsNumbersAndRanges) {
  EXPECT_EQ(list("512"), (Numbers{512}));
  EXPECT_EQ(list("512,2048"), (Numbers{512, 2048}));
  EXPECT_EQ(list("1-4"), (Numbers{1, 2, 3, 4}));
  EXPECT_EQ(list("1-9+2"), (Numbers{1, 3, 5, 7, 9}));
  EXPECT_EQ(list("1-8+3"), (Numbers{1, 4, 7}));
  EXPECT_EQ(list("8-64*2"), (Numbers{8, 16, 32, 64}));
  EXPECT_EQ(list("3-20*2"), (Numbers{3, 6, 12}));
  EXPECT_EQ(list("7-7"), (Numbers{7}));
  EXPECT_EQ(list("0,0-2,5"), (Numbers{0, 0, 1, 2, 5}));
  EXPECT_EQ(list("0-1048576+1048576"), (Numbers{0, 1048576}));
}

TEST(NumberList, RefusesEverythingElse) {
  for (const char* text : {"", "a", "5,", ",5", "5 ", "-5", "1-", "1-4+", "1-4*", "1-4/2",
                           "1-4+2+2", "1-4+-1", "0x10", "1.5", "99999999999999999999"}) {
    EXPECT_NE(error(text).find("-p takes numbers and ranges like"), std::string::npos) << text;
  }
  EXPECT_EQ(error("0"), "-p takes numbers from 1 to 1048576, not '0'");
  EXPECT_EQ(error("1-1048577"), "-p takes numbers from 1 to 1048576, not '1-1048577'");
  EXPECT_EQ(error("9-1"), "-p '9-1' runs from high to low");
  EXPECT_EQ(error("1-9+0"), "-p '1-9+0' never gets to its end");
  EXPECT_EQ(error("1-9*1"), "-p '1-9*1' never gets to its end");
  EXPECT_EQ(error("1-9*0"), "-p '1-9*0' never gets to its end");
  EXPECT_EQ(error("1-20000"), "-p has more than 10000 numbers");
  EXPECT_FALSE(parse_number_list("-p", "0-8*2", 0, 100).ok());  // 0 times 2 is 0
}

std::string budgets(const char* text) {
  const auto parsed = parse_budget_list("--kv-budget", text);
  if (!parsed.ok()) return parsed.error().message;
  std::string all;
  for (const Budget& budget : *parsed) all += budget.text() + " ";
  return all;
}

TEST(BudgetList, HasRangesOfTokensAndPercentages) {
  EXPECT_EQ(budgets("1024"), "1024 ");
  EXPECT_EQ(budgets("12.5%,64"), "12.5% 64 ");
  EXPECT_EQ(budgets("128-1024*2"), "128 256 512 1024 ");
  EXPECT_EQ(budgets("10%,64-128+32,7"), "10% 64 96 128 7 ");
}

TEST(BudgetList, RefusesEverythingElse) {
  const std::string budget = "a budget is a number of tokens or a percentage like 10%, not ";
  for (const char* text : {"", "-5", "a", "10%-50%", "10-50%", "0"}) {
    EXPECT_EQ(budgets(text), budget + "'" + text + "'");
  }
  EXPECT_EQ(budgets("5,"), budget + "''");
  EXPECT_EQ(budgets("9-1"), "--kv-budget '9-1' runs from high to low");
  EXPECT_EQ(budgets("0-8"), "--kv-budget takes numbers from 1 to 1000000000, not '0-8'");
  EXPECT_EQ(budgets("64-128*1"), "--kv-budget '64-128*1' never gets to its end");
  EXPECT_NE(budgets("64-").find("--kv-budget takes numbers and ranges like"), std::string::npos);
}

TEST(NumberPair, IsTwoNumbers) {
  EXPECT_EQ(parse_number_pair("-pg", "512,128", 1000).value(), (std::pair{512LL, 128LL}));
  EXPECT_EQ(parse_number_pair("-pg", "0,1000", 1000).value(), (std::pair{0LL, 1000LL}));
  for (const char* text : {"", "1", "1,", ",1", "1,2,3", "1,2 ", "-1,2", "1001,1", "1,1001"}) {
    EXPECT_FALSE(parse_number_pair("-pg", text, 1000).ok()) << text;
  }
}

}  // namespace
}  // namespace restkv
