#include <gtest/gtest.h>

#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(RougeL, PublishedValues) {
  EXPECT_NEAR(score_of("rouge_l", "the cat sat on the mat", {"the cat was on the mat."}), 0.8,
              1e-7);
  EXPECT_NEAR(score_of("rouge_l", "A b. c d e", {"c d. a b"}), 0.666667, 1e-6);
  EXPECT_NEAR(score_of("rouge_l", "hello world. hello again", {"hello again world"}), 1, 1e-7);
  EXPECT_EQ(score_of("rouge_l", ".", {"a"}), 0);
  EXPECT_EQ(score_of("rouge_l", "", {"a", ""}), 0);
}

TEST(RougeL, ABlankPieceIsOneEmptyWord) {
  // {x, ""} against {x}: P = 1/2, R = 1.
  EXPECT_NEAR(score_of("rouge_l", "x. ", {"x"}), 2.0 / 3, 1e-7);
}

TEST(RougeL, LongSentencesAreNotCutOff) {
  // The package gives up on a pair of sentences of a thousand words; here they are compared.
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "w" + std::to_string(i) + " ";
  EXPECT_NEAR(score_of("rouge_l", text, {text}), 1, 1e-7);
}

// Reference: w1 w2 w3 w4 w5; the two lines share w1 w2 and w1 w3 w5 with it (the example of Lin
// 2004, section 3.2): the union has 4 of 5 words, but w1 w2 w3 w5 of 10 predicted ones.
TEST(RougeLsum, UnionOfTheExampleInThePaper) {
  EXPECT_NEAR(score_of("rouge_lsum", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", {"w1 w2 w3 w4 w5"}),
              2 * 0.8 * 0.4 / 1.2, 1e-12);
}

TEST(RougeLsum, FrequenciesAreClipped) {
  // One x was predicted: it counts once, P = 1, R = 1/2.
  EXPECT_NEAR(score_of("rouge_lsum", "x", {"x\nx"}), 2.0 / 3, 1e-12);
  EXPECT_NEAR(score_of("rouge_lsum", "It's", {"it s"}), 1, 1e-12);
  EXPECT_EQ(score_of("rouge_lsum", "…\n", {"x"}), 0);
}

TEST(Rouge, TextsThatWouldTakeMinutesAreRefused) {
  std::string text;
  for (int i = 0; i < 33000; ++i) text += "x ";
  for (const char* name : {"rouge_l", "rouge_lsum"}) {
    const auto result = score(scorer_named(name), {.prediction = text, .answers = {&text, 1}});
    ASSERT_FALSE(result.ok()) << name;
    EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(result.error().message.find("33000"), std::string::npos);
  }
}

}  // namespace
}  // namespace restkv
