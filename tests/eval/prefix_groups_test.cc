#include "eval/prefix_groups.h"

#include <gtest/gtest.h>

#include <string>

namespace restkv {
namespace {

std::vector<Token> tokens_of(const std::string& text) { return {text.begin(), text.end()}; }

// "first+count:tokens" of each group.
std::string groups_of(const std::vector<std::string>& texts, std::size_t block = 1) {
  std::vector<std::vector<Token>> prompts;
  for (const std::string& text : texts) prompts.push_back(tokens_of(text));
  std::vector<std::span<const Token>> views(prompts.begin(), prompts.end());
  std::string list;
  for (const PrefixGroup& group :
       prefix_groups(views, [block](std::size_t n) { return n / block * block; })) {
    list += (list.empty() ? "" : " ") + std::to_string(group.first) + "+" +
            std::to_string(group.count) + ":" + std::to_string(group.tokens);
  }
  return list;
}

TEST(PrefixGroups, NeighboursThatBeginAlikeShare) {
  EXPECT_EQ(groups_of({}), "");
  EXPECT_EQ(groups_of({"abc"}), "0+1:0");
  EXPECT_EQ(groups_of({"abcX", "abcY", "abcZ"}), "0+3:3");
  EXPECT_EQ(groups_of({"abcX", "Y", "abcZ"}), "0+1:0 1+1:0 2+1:0");
  EXPECT_EQ(groups_of({"abX", "abY", "cdX", "cdY"}), "0+2:2 2+2:2");
}

// What may be shared is whole blocks.
TEST(PrefixGroups, OnlyWhatMayBeSharedCounts) {
  EXPECT_EQ(groups_of({"abcdeX", "abcdeY"}, 4), "0+2:4");
  EXPECT_EQ(groups_of({"abcX", "abcY"}, 4), "0+1:0 1+1:0");
}

// Ten tokens once are worth more than two tokens twice; five tokens twice are not worth less.
TEST(PrefixGroups, APromptThatWouldCostTheOthersMoreStaysOut) {
  EXPECT_EQ(groups_of({"abcdefghijX", "abcdefghijY", "abQ"}), "0+2:10 2+1:0");
  EXPECT_EQ(groups_of({"abcdefghijX", "abcdefghijY", "abcdeQ"}), "0+3:5");
}

// One prompt may be the beginning of another.
TEST(PrefixGroups, AWholePromptMayBeWhatIsShared) {
  EXPECT_EQ(groups_of({"abc", "abcd", "abc"}), "0+3:3");
}

}  // namespace
}  // namespace restkv
