#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/scorers/final_number_common.h"
#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(MarkedNumber, TheFirstMarkWithANumber) {
  EXPECT_EQ(marked_number("2+2=4\n#### 1,234"), "1234");
  EXPECT_EQ(marked_number("#### x #### -5.0 #### 6"), "-5.0");
  EXPECT_EQ(marked_number("####5"), std::nullopt);
  EXPECT_EQ(marked_number("##### 5."), "5.");
  EXPECT_EQ(marked_number(""), std::nullopt);
}

TEST(ClosingNumber, BehindThePhrase) {
  for (const Between between : {Between::kPlain, Between::kTex}) {
    EXPECT_EQ(closing_number("So 3. The answer is 42.", between), "42");
    EXPECT_EQ(closing_number("the final ANSWER IS: **$1,234.50**, 7", between), "1,234.50");
    EXPECT_EQ(closing_number("The answer is -$5", between), "-5");
    EXPECT_EQ(closing_number("The answer is clear. The answer is 8", between), "8");
    EXPECT_EQ(closing_number("#### 8\nThe answer is 9", between), "8");
    EXPECT_EQ(closing_number("The answer is nine (9)", between), std::nullopt);
    EXPECT_EQ(closing_number("The answer is ", between), std::nullopt);
    EXPECT_EQ(closing_number("The answer is ...", between), std::nullopt);
    EXPECT_EQ(closing_number("42", between), std::nullopt);
  }
}

TEST(ClosingNumber, WithinTex) {
  for (const auto& [text, number] : std::vector<std::pair<const char*, const char*>>{
           {R"(The answer is \(\boxed{18}\).)", "18"},
           {R"(The answer is: \[ \boxed{\$1,800} \])", "1,800"},
           {R"(the answer is $\boxed{-18}$. 3 more)", "-18"},
           {R"(#### \(18\))", "18"}}) {
    EXPECT_EQ(closing_number(text, Between::kTex), number) << text;
  }
  EXPECT_EQ(closing_number(R"(The answer is \(\boxed{18}\).)", Between::kPlain), std::nullopt);
  EXPECT_EQ(closing_number(R"(The answer is \boxed{x})", Between::kTex), std::nullopt);
  EXPECT_EQ(closing_number(R"(The answer is \boxed{)", Between::kTex), std::nullopt);
}

TEST(LastNumber, AsTheHarnessFindsIt) {
  EXPECT_EQ(last_number("3 apples and $1,000.50."), "1000.50");
  EXPECT_EQ(last_number("between 3 and 7"), "7");
  EXPECT_EQ(last_number("it is -7!"), "-7");
  EXPECT_EQ(last_number("3-7"), "-7");
  EXPECT_EQ(last_number("--7"), "-7");
  EXPECT_EQ(last_number("7 ..."), "..");  // no number, but the last match
  EXPECT_EQ(last_number("$ . , -"), std::nullopt);
}

TEST(PlainDecimal, OneSpelling) {
  EXPECT_EQ(plain_decimal("$1,234.500"), "1234.5");
  EXPECT_EQ(plain_decimal("007."), "7");
  EXPECT_EQ(plain_decimal("-.50"), "-0.5");
  EXPECT_EQ(plain_decimal("-0.0"), "0");
  EXPECT_EQ(plain_decimal("+12 %"), "12");
  EXPECT_EQ(plain_decimal("1e3"), std::nullopt);
  EXPECT_EQ(plain_decimal("1.2.3"), std::nullopt);
  EXPECT_EQ(plain_decimal("--1"), std::nullopt);
  EXPECT_EQ(plain_decimal(".."), std::nullopt);
  EXPECT_EQ(plain_decimal(""), std::nullopt);
  EXPECT_EQ(plain_decimal(std::string(100'000, '0') + "1"), "1");
}

TEST(Number, StrictFirstThenFlexible) {
  EXPECT_EQ(score_of("number", "The answer is 18. Also 3 cats.", {"18"}), 1);
  EXPECT_EQ(score_of("number", "That makes $18.00", {"18"}), 1);
  EXPECT_EQ(score_of("number_strict", "That makes $18.00", {"18"}), 0);
  EXPECT_EQ(score_of("number_flexible", "The answer is 18. Also 3 cats.", {"18"}), 0);
  EXPECT_EQ(score_of("number_flexible", "so 1,800", {"1800"}), 1);
  EXPECT_EQ(score_of("number_strict", R"(The answer is \(\boxed{18}\). Also 3 cats.)", {"18"}), 1);
  EXPECT_EQ(score_of("number_marked", "#### 1,800", {"1,800"}), 1);
  EXPECT_EQ(score_of("number_marked", "#### 18.0", {"18"}), 0);
  EXPECT_TRUE(is_answered("number", "18", {"18"}));
  EXPECT_FALSE(is_answered("number", "eighteen", {"18"}));
  EXPECT_FALSE(is_answered("number_strict", "18", {"18"}));
}

TEST(Number, PublishedSolutionsAnswerThemselves) {
  std::ifstream file(std::string(RESTKV_SHARED_DIR) + "/data/gsm8k/test.jsonl");
  if (!file) GTEST_SKIP() << "no data of GSM8K";
  int rows = 0;
  int commas = 0;
  for (std::string line; std::getline(file, line); ++rows) {
    const auto solution = nlohmann::json::parse(line).at("answer").get<std::string>();
    const std::string gold = solution.substr(solution.rfind("#### ") + 5);
    commas += gold.find(',') != std::string::npos ? 1 : 0;
    for (const char* name : {"number", "number_strict", "number_flexible", "number_marked"}) {
      EXPECT_EQ(score_of(name, solution, {gold}), 1) << name << ": " << solution;
      EXPECT_EQ(score_of(name, solution, {gold + "1"}), 0) << name << ": " << solution;
    }
  }
  EXPECT_EQ(rows, 1319);
  EXPECT_EQ(commas, 14);
}

}  // namespace
}  // namespace restkv
