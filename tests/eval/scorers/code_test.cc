#include <gtest/gtest.h>

#include "base/random.h"
#include "eval/scorers/matching_common.h"
#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

TEST(CodeSim, PublishedValues) {
  EXPECT_EQ(score_of("code_sim", "# c\nreturn foo(a, b)", {"return foo(b, a)"}), 0.88);
  EXPECT_EQ(score_of("code_sim", "    if e.text == lang:", {"            if e.text == language:"}),
            0.79);
}

TEST(CodeSim, TakesTheFirstLineOfCode) {
  EXPECT_EQ(score_of("code_sim", "\n\n```py\nx = 1 // y\n# z\na = b\nc", {"a = b"}), 1);
  EXPECT_EQ(score_of("code_sim", "\n\nx\ny", {"x"}), 1);
  // An empty line among the others is a line; against text it is worth nothing.
  EXPECT_EQ(score_of("code_sim", "# c\n\nx", {"x"}), 0);
  EXPECT_EQ(score_of("code_sim", "# only\n`fence`", {"x"}), 0);
  EXPECT_FALSE(is_answered("code_sim", "# only", {"x"}));
}

TEST(CodeSim, WholePerCentsWithHalvesToEven) {
  // 2 * 1 / 16 = 12.5 % and 2 * 3 / 16 = 37.5 %.
  EXPECT_EQ(score_of("code_sim", "abcdefgh", {"aijklmno"}), 0.12);
  EXPECT_EQ(score_of("code_sim", "abcdefgh", {"abcijklm"}), 0.38);
}

TEST(DifflibRatio, BlocksAreTakenLongestFirst) {
  // "abc" is the longest block; "x" then stands on the wrong side of it.
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"xabc", U"abcx"), 2.0 * 3 / 8);
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"", U""), 1);
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"é", U"é"), 1);  // a character, not two bytes
}

TEST(DifflibRatio, FrequentCharactersBeginNoBlockInALongText) {
  const std::u32string line(199, U'x');
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"ax", line), 2.0 * 1 / 201);
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"ax", line + U"x"), 0);
  EXPECT_DOUBLE_EQ(*difflib_ratio(U"xa", line + U"x"), 2.0 * 1 / 202);  // equal beginnings count
}

std::u32string random_text(std::uint64_t& state, std::size_t most) {
  std::u32string text(next_random(state) % (most + 1), U' ');
  for (char32_t& c : text) c = U'a' + static_cast<char32_t>(next_random(state) % 3);
  return text;
}

// Every subsequence of `a`, tried.
std::size_t longest_common(std::u32string_view a, std::u32string_view b) {
  if (a.empty() || b.empty()) return 0;
  const std::size_t without = longest_common(a.substr(1), b);
  const std::size_t at = b.find(a[0]);
  if (at == std::u32string_view::npos) return without;
  return std::max(without, 1 + longest_common(a.substr(1), b.substr(at + 1)));
}

TEST(SubsequenceRatio, IsTheLongestOfAll) {
  std::uint64_t state = 3;
  for (int trial = 0; trial < 300; ++trial) {
    const auto a = random_text(state, 9);
    const auto b = random_text(state, 12);
    if (a.empty() && b.empty()) continue;
    const double expected =
        2.0 * static_cast<double>(longest_common(a, b)) / static_cast<double>(a.size() + b.size());
    EXPECT_DOUBLE_EQ(*subsequence_ratio(a, b), expected);
    EXPECT_LE(*difflib_ratio(a, b), expected + 1e-12);  // blocks are a common subsequence
  }
}

TEST(CodeSim, LinesThatWouldTakeMinutesAreRefused) {
  const std::string line(5000, 'x');
  const std::string other(5000, 'y');
  for (const char* name : {"code_sim", "code_sim_lcs"}) {
    const auto result = score(scorer_named(name), {.prediction = line, .answers = {&other, 1}});
    ASSERT_FALSE(result.ok()) << name;
    EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace restkv
