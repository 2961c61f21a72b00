// Scores and cuts that the benchmarks' own Python packages gave to texts of ours; the file and its
// maker, tests/eval/make_fixtures.py, name versions and seed.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/chinese_words.h"
#include "eval/scorers/matching_common.h"
#include "eval/scorers/scoring.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

nlohmann::json fixture(const char* part) {
  std::ifstream file(std::string(RESTKV_TEST_DIR) + "/eval/fixtures/scores.json");
  return nlohmann::json::parse(file).at(part);
}

void expect_scores(const char* scorer) {
  const auto cases = fixture(scorer);
  ASSERT_GE(cases.size(), 100U);
  for (const auto& one : cases) {
    const auto prediction = one.at("prediction").get<std::string>();
    const auto answer = one.at("answer").get<std::string>();
    EXPECT_NEAR(score_of(scorer, prediction, {answer}), one.at("score").get<double>(), 1e-12)
        << "'" << prediction << "' against '" << answer << "'";
  }
}

TEST(PublishedCode, RougeLIsThePackageRouge) { expect_scores("rouge_l"); }
TEST(PublishedCode, RougeLsumIsRougeScore) { expect_scores("rouge_lsum"); }
TEST(PublishedCode, CodeSimIsFuzzywuzzy) { expect_scores("code_sim"); }

TEST(PublishedCode, ChineseIsCutAsByJieba) {
  const auto words = ChineseWords::load(std::string(ChineseWords::kInstalledFolder));
  if (!words.ok()) GTEST_SKIP() << words.error().message;
  for (const auto& one : fixture("cuts")) {
    const auto text = one.at("text").get<std::string>();
    EXPECT_EQ(words->cut(text), one.at("pieces").get<std::vector<std::string>>()) << text;
  }
}

}  // namespace
}  // namespace restkv
