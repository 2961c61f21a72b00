#include <gtest/gtest.h>

#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(FirstInteger, ComparesTexts) {
  EXPECT_EQ(score_of("first_integer", "The key is 01234. Or 7", {"01234"}), 1);
  EXPECT_EQ(score_of("first_integer", "1234", {"01234"}), 0);
  EXPECT_EQ(score_of("first_integer", "7 01234", {"01234"}), 0);
  EXPECT_EQ(score_of("first_integer", "", {"01234"}), 0);
  EXPECT_FALSE(is_answered("first_integer", "no key", {"1"}));
}

TEST(WordFound, MarksAroundAWordGo) {
  EXPECT_EQ(score_of("word_found", "{\"k\": \"6ab-9\"}", {"6ab-9"}), 1);
  EXPECT_EQ(score_of("word_found", "6ab-9x", {"6ab-9"}), 0);
  EXPECT_EQ(score_of("word_found", "6AB-9", {"6ab-9"}), 0);
}

TEST(NameFound, FirstAnswerInCapitals) {
  EXPECT_EQ(score_of("name_found", "I think 'Anna'.", {"ANNA"}), 1);
  EXPECT_EQ(score_of("name_found", "Annabel", {"ANNA"}), 0);
  EXPECT_EQ(score_of("name_found", "Bob", {"ANNA", "BOB"}), 0);
  EXPECT_EQ(score_of("name_found", "Anna Maria", {"ANNA MARIA", "ANNA"}), 0);
}

TEST(LastInteger, TheLastWordIsTheNumber) {
  EXPECT_EQ(score_of("last_integer", "func_1(3) returns: -12.", {"-12"}), 1);
  EXPECT_EQ(score_of("last_integer", "`007`", {"7"}), 1);
  EXPECT_EQ(score_of("last_integer", "12 or so", {"12"}), 0);
  EXPECT_EQ(score_of("last_integer", "1-2", {"12"}), 0);
  EXPECT_EQ(score_of("last_integer", "-", {"0"}), 0);
  EXPECT_EQ(score_of("last_integer", "-0", {"0"}), 1);
}

TEST(MathFind, WholeAndDecimalAnswers) {
  EXPECT_EQ(score_of("math_find", "It is 48.0", {"48"}), 1);
  EXPECT_EQ(score_of("math_find", "48.", {"48"}), 1);
  EXPECT_EQ(score_of("math_find", "-48", {"48"}), 1);
  EXPECT_EQ(score_of("math_find", "48.5, 1", {"48.5"}), 1);
  EXPECT_EQ(score_of("math_find", "48", {"48.5"}), 0);
  EXPECT_EQ(score_of("math_find", "1, 48", {"48"}), 0);
  EXPECT_EQ(score_of("math_find", std::string(5000, '9'), {"9"}), 0);  // beyond a double
}

TEST(MathCalc, ShareOfTheLeadingNumbers) {
  EXPECT_EQ(score_of("math_calc", "[3, 05, 9, 1]", {"3", "5", "8", "1"}), 0.5);
  EXPECT_EQ(score_of("math_calc", "3 5 8 1 4 4", {"[3, 5, 8, 1]"}), 1);
  EXPECT_EQ(score_of("math_calc", "4 3 5", {"3", "5"}), 0);
  EXPECT_EQ(score_of("math_calc", "", {"3", "5"}), 0);
}

TEST(InfiniteBench, AnswersOfTheWrongKindAreErrors) {
  const std::string answer = "many";
  for (const char* name : {"last_integer", "math_find", "math_calc", "choice", "code_debug"}) {
    const auto result = score(scorer_named(name), {.prediction = "1", .answers = {&answer, 1}});
    ASSERT_FALSE(result.ok()) << name;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << name;
  }
}

TEST(Choice, EveryRuleInItsOrder) {
  const std::vector<std::string> right = {"a red car", "B"};
  EXPECT_EQ(score_of("choice", "", right), 0);
  EXPECT_EQ(score_of("choice", " B. a blue car", right), 1);  // the first character decides
  EXPECT_EQ(score_of("choice", "A red car? B", right), 0);
  EXPECT_EQ(score_of("choice", "a red car", right), 1);
  EXPECT_EQ(score_of("choice", "the answer is: B", right), 1);
  EXPECT_EQ(score_of("choice", "the answer is \"a red car\"", right), 1);
  EXPECT_EQ(score_of("choice", "the answer is: C, not B", right), 0);
  EXPECT_EQ(score_of("choice", "the answer is:", right), 0);
  EXPECT_EQ(score_of("choice", "my option is\nB!", right), 1);
  EXPECT_EQ(score_of("choice", "maybe B or C", right), 1);
  EXPECT_EQ(score_of("choice", "maybe C or B", right), 0);
  EXPECT_EQ(score_of("choice", "maybe BC or B", right), 0);  // "BC" is a part of "ABCD" and decides
  EXPECT_EQ(score_of("choice", "no idea", right), 0);
}

TEST(CodeDebug, LetterWithAMarkOrAfterACue) {
  const std::vector<std::string> right = {"parse_line", "C"};
  EXPECT_EQ(score_of("code_debug", "C. parse", right), 1);
  EXPECT_EQ(score_of("code_debug", " C: x", right), 1);
  EXPECT_EQ(score_of("code_debug", "C", right), 0);
  EXPECT_EQ(score_of("code_debug", "The answer is: `parse_line`", right), 1);
  EXPECT_EQ(score_of("code_debug", "it is: Option C", right), 1);
  EXPECT_EQ(score_of("code_debug", "Answer: D, answer: C", right), 1);
  EXPECT_EQ(score_of("code_debug", "the answer is: D, is: C", right), 0);
}

}  // namespace
}  // namespace restkv
