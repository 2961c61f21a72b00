#include <gtest/gtest.h>

#include "eval/scorers/scoring.h"
#include "eval/scorers/words_common.h"

namespace restkv {
namespace {

using Words = std::vector<std::u32string>;

TEST(NormalWords, LowerCaseThenPunctuationThenArticles) {
  EXPECT_EQ(normal_words("The U.S.A., an  ÄPFEL-baum\tand a"),
            (Words{U"usa", U"äpfelbaum", U"and"}));
  EXPECT_EQ(normal_words("theory of a.n an1 the_ a"), (Words{U"theory", U"of", U"an1"}));
  EXPECT_EQ(normal_words("a’s the…x"), (Words{U"’s", U"…x"}));  // no ASCII: a border of words
  EXPECT_EQ(normal_words("ΟΔΟΣ ΣΑΣ Σ"), (Words{U"οδος", U"σας", U"σ"}));
  EXPECT_EQ(normal_words(" \u00A0\u3000 !?"), Words{});
}

TEST(ExactMatch, OnlyWordsCount) {
  EXPECT_EQ(score_of("exact_match", "the Eiffel Tower!", {"no", "Eiffel tower"}), 1);
  EXPECT_EQ(score_of("exact_match", "Eiffel", {"Eiffel tower"}), 0);
  EXPECT_EQ(score_of("exact_match", "", {"the"}), 1);
}

TEST(QaF1, PublishedAndHandWorkedValues) {
  EXPECT_NEAR(score_of("qa_f1", "Paris, France", {"the city of Paris"}), 0.4, 1e-12);
  EXPECT_NEAR(score_of("qa_f1", "The answer is an apple", {"apple"}), 0.5, 1e-12);
  EXPECT_EQ(score_of("qa_f1", "U.S.A.", {"USA"}), 1);
  // Words count as often as both have them: 2 of 3 and 2 of 2.
  EXPECT_NEAR(score_of("qa_f1", "x x x", {"x x"}), 0.8, 1e-12);
  EXPECT_NEAR(score_of("qa_f1", "x y", {"z", "y z w", "y z"}), 0.5, 1e-12);  // the best answer
  EXPECT_EQ(score_of("qa_f1", "", {""}), 0);
}

TEST(MultisetF1, IsSymmetricAndOneOnlyForEqualBags) {
  const Words x = {U"p", U"q", U"q"};
  const Words y = {U"q", U"r"};
  EXPECT_EQ(multiset_f1(x, y), multiset_f1(y, x));
  EXPECT_EQ(multiset_f1(x, Words{U"q", U"p", U"q"}), 1);
  EXPECT_LT(multiset_f1(x, Words{U"q", U"p"}), 1);
}

}  // namespace
}  // namespace restkv
