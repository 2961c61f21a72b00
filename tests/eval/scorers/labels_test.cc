#include <gtest/gtest.h>

#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(Classification, OneOverTheLabelsThatRemain) {
  const std::vector<std::string> labels = {"City", "Other location", "Food"};
  EXPECT_EQ(score_of("classification", "City", {"City"}, labels), 1);
  EXPECT_EQ(score_of("classification", "City or Food", {"City"}, labels), 0.5);
  EXPECT_EQ(score_of("classification", "city", {"City"}, labels), 0);
  EXPECT_EQ(score_of("classification", "Food", {"City"}, labels), 0);
  // A label within the right one goes.
  EXPECT_EQ(score_of("classification", "ab", {"ab"}, {"a", "ab"}), 1);
}

TEST(Classification, TheLabelAfterAnErasedOneIsPassedOver) {
  EXPECT_EQ(score_of("classification", "a ab abc", {"abc"}, {"a", "ab", "abc"}), 0.5);
}

TEST(Classification, NeedsLabels) {
  const std::vector<std::string> answers = {"City"};
  const auto result =
      score(scorer_named("classification"), {.prediction = "City", .answers = answers});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
}

TEST(Retrieval, ShareOfTheNumbers) {
  EXPECT_EQ(score_of("retrieval", "Paragraph 12, or 3", {"Paragraph 12"}), 0.5);
  EXPECT_EQ(score_of("retrieval", "12", {"Paragraph 12"}), 1);
  EXPECT_EQ(score_of("retrieval", "012 112 120", {"Paragraph 12"}), 0);
  EXPECT_EQ(score_of("retrieval", "none", {"Paragraph 12"}), 0);
  EXPECT_EQ(score_of("retrieval_zh", "段落3和7，第3段", {"段落3"}), 2.0 / 3);
  // Digits of other scripts are numbers, but not the same text.
  EXPECT_EQ(score_of("retrieval", "３ 3", {"Paragraph 3"}), 0.5);
  EXPECT_FALSE(is_answered("retrieval", "Paragraph", {"Paragraph 1"}));
}

TEST(Retrieval, AnAnswerWithoutANumberIsAnError) {
  for (const std::string answer : {"12", "Paragraph", "Paragraph x"}) {
    const auto result =
        score(scorer_named("retrieval"), {.prediction = "12", .answers = {&answer, 1}});
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().message, "the answer '" + answer + "' names no paragraph");
  }
  EXPECT_EQ(score_of("retrieval", "7", {"Paragraph x, Paragraph 7"}), 1);
}

TEST(Count, ShareOfTheNumbers) {
  EXPECT_EQ(score_of("count", "There are 5 of 20.", {"5"}), 0.5);
  EXPECT_EQ(score_of("count", "five", {"5"}), 0);
}

}  // namespace
}  // namespace restkv
