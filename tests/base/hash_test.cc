// FNV-1a, against the published values of its authors.

#include "base/hash.h"

#include <gtest/gtest.h>

namespace restkv {
namespace {

std::string hash_of(std::string_view text) {
  Hash hash;
  hash.add(text);
  return hash.text();
}

TEST(Hash, IsThatOfItsAuthors) {
  EXPECT_EQ(hash_of(""), "cbf29ce484222325");
  EXPECT_EQ(hash_of("a"), "af63dc4c8601ec8c");
  EXPECT_EQ(hash_of("foobar"), "85944171f73967e8");
}

TEST(Hash, OfANumberIsThatOfItsBytes) {
  Hash number;
  number.add(0x04030201);
  EXPECT_EQ(number.text(), hash_of("\x01\x02\x03\x04"));
  EXPECT_EQ(number.value(), std::stoull(number.text(), nullptr, 16));
}

}  // namespace
}  // namespace restkv
