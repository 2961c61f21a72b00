#include "text/utf8_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace restkv {
namespace {

constexpr std::string_view kBad = "\xEF\xBF\xBD";

std::string whole(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.push(bytes);
  return text += stream.flush();
}

// Valid in the strict sense, checked on code points: shortest form, no surrogates, at most 10FFFF.
bool is_valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
    if (lead >= 0x80 && (lead < 0xC0 || lead >= 0xF8)) return false;
    if (i + n > text.size()) return false;
    unsigned code = n == 1 ? lead : lead & (0x7FU >> n);
    for (std::size_t k = 1; k < n; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return false;
      code = code << 6 | (next & 0x3FU);
    }
    constexpr unsigned kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    i += n;
  }
  return true;
}

TEST(Utf8Stream, EverySplitOfAValidTextGivesTheText) {
  const std::string text = "aé€\xF0\x9F\x99\x82z\xF4\x8F\xBF\xBF\xED\x9F\xBF";
  ASSERT_TRUE(is_valid_utf8(text));
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      Utf8Stream stream;
      std::string result;
      for (const auto& part :
           {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
        const std::string piece = stream.push(part);
        EXPECT_TRUE(is_valid_utf8(piece)) << first << " " << second;
        result += piece;
      }
      EXPECT_EQ(result, text) << first << " " << second;
      EXPECT_EQ(stream.flush(), "");
    }
  }
}

TEST(Utf8Stream, HoldsBackOnlyTheUnfinishedCharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ab\xE2\x82"), "ab");
  EXPECT_EQ(stream.push("\xAC"), "€");
  EXPECT_EQ(stream.push("\xF0\x9F\x99"), "");
  EXPECT_EQ(stream.flush(), kBad);
  EXPECT_EQ(stream.flush(), "");
  EXPECT_EQ(stream.push("c"), "c");
}

// The examples of The Unicode Standard 15, tables 3-8 to 3-11, and single wrong bytes.
TEST(Utf8Stream, WrongBytesBecomeReplacementsOnePerMaximalPart) {
  const auto bad = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += kBad;
    return text;
  };
  EXPECT_EQ(whole("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), bad(8) + "A");
  EXPECT_EQ(whole("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), bad(8) + "A");
  EXPECT_EQ(whole("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), bad(5) + "A" + bad(2) + "B");
  EXPECT_EQ(whole("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), bad(4) + "A");
  EXPECT_EQ(whole("a\x80z"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(whole("\xE2\x82"), bad(1));
}

TEST(Utf8Stream, AnyBytesGiveValidTextThatDoesNotDependOnTheSplit) {
  // Every string of three bytes over the bytes at the borders of the encoding's ranges.
  const std::vector<unsigned char> borders = {0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                              0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
                                              0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
  for (const unsigned char a : borders) {
    for (const unsigned char b : borders) {
      for (const unsigned char c : borders) {
        const std::string bytes = {static_cast<char>(a), static_cast<char>(b),
                                   static_cast<char>(c)};
        const std::string expected = whole(bytes);
        ASSERT_TRUE(is_valid_utf8(expected));
        if (is_valid_utf8(bytes)) {
          ASSERT_EQ(expected, bytes);
        }
        Utf8Stream stream;
        std::string result;
        for (const char byte : bytes) result += stream.push({&byte, 1});
        ASSERT_EQ(result + stream.flush(), expected) << int{a} << " " << int{b} << " " << int{c};
      }
    }
  }
}

TEST(Utf8Stream, ACharacterStandsInThePieceThatEndsIt) {
  EXPECT_EQ(with_whole_characters({"a\xE2", "\x82", "\xACz", "", "\xF0\x9F"}),
            (std::vector<std::string>{"a", "", "\xE2\x82\xACz", "", "\xEF\xBF\xBD"}));
  EXPECT_TRUE(with_whole_characters({}).empty());
}

}  // namespace
}  // namespace restkv
