#include <gtest/gtest.h>

#include <set>

#include "eval/chinese_words.h"
#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

std::vector<const ScorerInfo*> all_scorers() {
  std::vector<const ScorerInfo*> all;
  for (const ScorerFamily* family : all_scorer_families()) {
    for (const ScorerInfo& scorer : family->scorers) all.push_back(&scorer);
  }
  return all;
}

// An answer that every scorer takes, or the one that it asks for.
std::vector<std::string> answers_for(std::string_view scorer) {
  if (scorer == "retrieval") return {"Paragraph 7"};
  if (scorer == "retrieval_zh") return {"段落7"};
  if (scorer == "choice" || scorer == "code_debug") return {"seven", "B"};
  return {"7"};
}

TEST(Scorers, AreFoundByNameAndNamesAreDifferent) {
  std::set<std::string_view> names;
  for (const ScorerInfo* scorer : all_scorers()) {
    EXPECT_TRUE(names.insert(scorer->name).second) << scorer->name;
    EXPECT_EQ(*find_scorer(scorer->name), scorer);
    EXPECT_FALSE(scorer->summary.empty());
  }
  EXPECT_GE(names.size(), 20U);
}

TEST(Scorers, AnUnknownNameListsTheKnownOnes) {
  const auto found = find_scorer("rouge");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ErrorCode::kInvalidArgument);
  for (const ScorerInfo* scorer : all_scorers()) {
    EXPECT_NE(found.error().message.find(scorer->name), std::string::npos);
  }
}

TEST(Scorers, WithoutAnAnswerThereIsAnError) {
  for (const ScorerInfo* scorer : all_scorers()) {
    const auto result = score(*scorer, {.prediction = "7"});
    ASSERT_FALSE(result.ok()) << scorer->name;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << scorer->name;
  }
}

TEST(Scorers, WithoutChineseWordsThereIsAnErrorThatNamesThePackage) {
  const std::string answer = "7";
  const auto result = score(scorer_named("rouge_zh"), {.prediction = "7", .answers = {&answer, 1}});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
  EXPECT_NE(result.error().message.find("python3-jieba"), std::string::npos);
}

TEST(Scorers, AnyBytesGiveAScoreBetween0And1) {
  const auto words = ChineseWords::load(std::string(ChineseWords::kInstalledFolder));
  const std::string bad = "\xFF\xC0\xAF 7\xE4\xB8";
  const std::vector<std::string> predictions = {"",
                                                " \n\t",
                                                "\n\n\n",
                                                std::string(1, '\0'),
                                                bad,
                                                bad + "\n" + bad,
                                                "7",
                                                "....",
                                                "\"`#//",
                                                std::string(30'000, '9'),
                                                std::string(30'000, '.'),
                                                std::string(30'000, '\n'),
                                                std::string(30'000, '-'),
                                                std::string(30'000, '\x80')};
  const std::vector<std::string> classes = {"7", "\xFF", ""};
  for (const ScorerInfo* scorer : all_scorers()) {
    if (scorer->needs_chinese_words && !words.ok()) continue;
    const auto answers = answers_for(scorer->name);
    for (const std::string& prediction : predictions) {
      const auto result = score(*scorer, {.prediction = prediction,
                                          .answers = answers,
                                          .classes = classes,
                                          .chinese_words = words.ok() ? &*words : nullptr});
      ASSERT_TRUE(result.ok()) << scorer->name << ": " << result.error().message;
      EXPECT_GE(result->value, 0) << scorer->name;
      EXPECT_LE(result->value, 1) << scorer->name;
    }
  }
}

TEST(Scorers, ABlankPredictionIsNoAnswer) {
  for (const ScorerInfo* scorer : all_scorers()) {
    if (scorer->needs_chinese_words) continue;
    const auto answers = answers_for(scorer->name);
    const std::vector<std::string> classes = {"7"};
    for (const char* blank : {"", " \n", "\u3000"}) {
      const auto result =
          score(*scorer, {.prediction = blank, .answers = answers, .classes = classes});
      ASSERT_TRUE(result.ok());
      EXPECT_FALSE(result->answered) << scorer->name;
    }
  }
}

TEST(FirstAnswerLine, LeadingLineFeedsOnly) {
  EXPECT_EQ(first_answer_line("\n\nCity\nFood"), "City");
  EXPECT_EQ(first_answer_line(" \nCity"), " ");
  EXPECT_EQ(first_answer_line("\n\n"), "");
  EXPECT_EQ(first_answer_line(""), "");
}

}  // namespace
}  // namespace restkv
