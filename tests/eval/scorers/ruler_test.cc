#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(StringMatchAll, ShareOfTheAnswersInAnyCase) {
  EXPECT_EQ(score_of("string_match_all", "1. Alpha, BETA; gamma", {"alpha", "beta", "Gamma", "x"}),
            0.75);
  EXPECT_EQ(score_of("string_match_all", "ÉTÉ", {"été"}), 1);
  EXPECT_EQ(score_of("string_match_all", "", {"x"}), 0);
  EXPECT_EQ(score_of("string_match_all", "x12y", {"12"}), 1);  // a part of a word is enough
}

TEST(StringMatchAll, ControlCharactersAreLineFeeds) {
  EXPECT_EQ(score_of("string_match_all", "a\tb", {"a\tb"}), 0);
  EXPECT_EQ(score_of("string_match_all", "a\tb", {"a\nb"}), 1);
  EXPECT_EQ(score_of("string_match_all", std::string_view("a\0b", 3), {"a\nb"}), 1);
}

TEST(StringMatchPart, OneIsEnough) {
  EXPECT_EQ(score_of("string_match_part", "in Paris", {"London", "paris"}), 1);
  EXPECT_EQ(score_of("string_match_part", "in Rome", {"London", "paris"}), 0);
}

TEST(StringMatchAll, OfficialSamplesHoldTheirAnswers) {
  std::ifstream file(std::string(RESTKV_SHARED_DIR) + "/data/ruler/4096/niah_multikey_3.jsonl");
  if (!file) GTEST_SKIP() << "no data of RULER";
  std::string line;
  for (int i = 0; i < 20 && std::getline(file, line); ++i) {
    const auto row = nlohmann::json::parse(line);
    const auto answers = row.at("outputs").get<std::vector<std::string>>();
    const auto input = row.at("input").get<std::string>();
    EXPECT_EQ(score_of("string_match_all", input, answers), 1);
    EXPECT_EQ(score_of("string_match_all", input.substr(0, 500), {answers[0] + "x"}), 0);
  }
}

TEST(NeedleRecall, DifferentWordsWithTheirPunctuation) {
  const std::string needle = "eat a pie in a park.";  // eat a pie in park.
  EXPECT_EQ(score_of("needle_recall", needle, {needle}), 1);
  EXPECT_EQ(score_of("needle_recall", "A Pie, in the park.", {needle}), 3.0 / 5);
  EXPECT_EQ(score_of("needle_recall", "park", {needle}), 0);
  EXPECT_EQ(score_of("needle_recall", "", {needle, ""}), 0);
}

}  // namespace
}  // namespace restkv
