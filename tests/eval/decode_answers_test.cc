#include "eval/decode_answers.h"

#include <gtest/gtest.h>

namespace restkv {
namespace {

std::vector<Token> repeated(const std::vector<Token>& passage, std::size_t times) {
  std::vector<Token> tokens = {901, 902, 903};
  for (std::size_t i = 0; i < times; ++i)
    tokens.insert(tokens.end(), passage.begin(), passage.end());
  return tokens;
}

TEST(Looping, FourTimesTheSamePassageAtTheEnd) {
  EXPECT_TRUE(is_looping(repeated({1, 2, 3, 4, 5}, 4)));
  EXPECT_FALSE(is_looping(repeated({1, 2, 3, 4, 5}, 3)));
  EXPECT_TRUE(is_looping(repeated({7}, 16)));
  EXPECT_FALSE(is_looping(repeated({7}, 15)));
  std::vector<Token> went_on = repeated({1, 2, 3, 4, 5}, 8);
  went_on.push_back(904);
  EXPECT_FALSE(is_looping(went_on));
  EXPECT_FALSE(is_looping({}));
}

}  // namespace
}  // namespace restkv
