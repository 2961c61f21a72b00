#include "text/deep_stack.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <string>
#include <string_view>
#include <vector>

#include "text/vocabularies.h"

namespace restkv::testing {
namespace {

// Those of libllama that cut words by std::regex.
const std::vector<std::string>& recursive_names() {
  static const std::vector<std::string> names = {"deepseek-coder", "deepseek-llm", "falcon",
                                                 "gpt-neox"};
  return names;
}

std::string repeated(std::string_view unit, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += unit;
  return text;
}

class LongWords : public EachVocabulary {};
INSTANTIATE_TEST_SUITE_P(, LongWords, ::testing::ValuesIn(recursive_names()), case_name);

TEST_P(LongWords, AreCutWithoutRunningOutOfStack) {
  for (const char* unit : {"a", "-", "7", " ", "\n", "/\n", "\xE4\xB8\x80"}) {
    // More than fits into 8 MiB.
    const std::string text = repeated(unit, *unit == 'a' ? 300'000 : 30'000);
    const auto tokens = vocabulary->tokenize(text);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message;
    EXPECT_EQ(vocabulary->detokenize(*tokens), text) << unit;
  }
}

// Words are cut one by one, so a long line has the tokens of its words.
TEST_P(LongWords, HaveTheTokensOfShortTexts) {
  const std::vector<std::string> words = {" alpha", " of", " extraordinarily", " the", " Zebra"};
  std::string line;
  std::vector<Token> wanted;
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::string& word = words[i * i % words.size()];
    line += word;
    const auto tokens = vocabulary->tokenize(word);
    wanted.insert(wanted.end(), tokens->begin(), tokens->end());
  }
  EXPECT_EQ(*vocabulary->tokenize(line), wanted);
}

TEST_P(LongWords, BeyondTheLimitAreRefused) {
  const auto tokens = vocabulary->tokenize("first line\n" + std::string(kLongestLine + 1, 'a'));
  ASSERT_FALSE(tokens.ok());
  EXPECT_EQ(tokens.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(tokens.error().message,
            "text to tokenise: a line of 1048577 bytes: this vocabulary cuts lines of at most "
            "1048576 bytes into words");
  // A text may be longer, in lines.
  const std::string text = repeated("abc def\n", kLongestLine / 8 + 1);
  EXPECT_TRUE(vocabulary->tokenize(text).ok());
}

// Each of these names on a stack that a splitter with recursion would run through.
TEST(SplitsWithoutRecursion, IsTrue) {
  const std::string path = vocabulary_path("gpt-2");
  if (vocabulary_at(path) == nullptr) GTEST_SKIP() << "no file " << path;
  EXPECT_FALSE(splits_without_recursion(""));
  EXPECT_FALSE(splits_without_recursion("default"));
  for (const std::string& name : recursive_names()) EXPECT_FALSE(splits_without_recursion(name));
  for (const char* name : {"qwen2", "llama-bpe", "gpt-2", "smollm", "qwen35", "starcoder"}) {
    EXPECT_TRUE(splits_without_recursion(name)) << name;
  }
  for (const char* name : {"qwen2", "llama-bpe", "gpt-2", "starcoder", "refact", "mpt"}) {
    const auto vocabulary = vocabulary_at(vocabulary_path(name));
    const auto tokens = vocabulary->tokenize(std::string(kLongestLine + 1, 'a'));
    EXPECT_EQ(tokens.ok(), splits_without_recursion(name)) << name;
  }
}

TEST(LongestStretch, EndsWhereNoWordGoesOn) {
  EXPECT_EQ(longest_stretch(""), 0U);
  EXPECT_EQ(longest_stretch("abc"), 3U);
  EXPECT_EQ(longest_stretch("abc\nde"), 4U);
  EXPECT_EQ(longest_stretch("a\nbcdef"), 5U);
  EXPECT_EQ(longest_stretch("abc\nde\nf\n"), 4U);
  EXPECT_EQ(longest_stretch("a\n\n\nbc"), 4U);
  EXPECT_EQ(longest_stretch("a\n  b\r\nc"), 7U);
  EXPECT_EQ(longest_stretch("a\n/b"), 4U);
  EXPECT_EQ(longest_stretch("a\n\xC2\xA0"), 4U);
}

std::size_t stack_bytes() {
  pthread_attr_t attributes;
  std::size_t bytes = 0;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstacksize(&attributes, &bytes);
  pthread_attr_destroy(&attributes);
  return bytes;
}

TEST(CallWithStack, GivesRoomForLongStretchesOnly) {
  pthread_t where{};
  std::size_t bytes = 0;
  const auto body = [&] {
    where = pthread_self();
    bytes = stack_bytes();
  };
  ASSERT_TRUE(call_with_stack(100, body).ok());
  EXPECT_TRUE(pthread_equal(where, pthread_self()));
  ASSERT_TRUE(call_with_stack(100'000, body).ok());
  EXPECT_FALSE(pthread_equal(where, pthread_self()));
  EXPECT_GE(bytes, 400U * 100'000U);
  bytes = 0;
  EXPECT_FALSE(call_with_stack(kLongestLine + 1, body).ok());
  EXPECT_EQ(bytes, 0U);
}

}  // namespace
}  // namespace restkv::testing
