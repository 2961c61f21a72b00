#include "base/names.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace restkv {
namespace {

struct Entry {
  std::string_view name;
};

TEST(Listed, NamesStandInOrderWithCommasBetween) {
  EXPECT_EQ(listed(std::vector<Entry>{}, &Entry::name), "");
  EXPECT_EQ(listed(std::vector<Entry>{{"one"}}, &Entry::name), "one");
  EXPECT_EQ(listed(std::vector<Entry>{{"one"}, {"two"}, {"three"}}, &Entry::name),
            "one, two, three");
}

TEST(Listed, TakesPointersAndFunctions) {
  const std::array<Entry, 2> entries = {{{"b"}, {"a"}}};
  const std::vector<const Entry*> pointers = {&entries[0], &entries[1]};
  EXPECT_EQ(listed(pointers, &Entry::name), "b, a");
  EXPECT_EQ(listed(std::array{1, 2}, [](int i) { return std::to_string(i); }), "1, 2");
}

}  // namespace
}  // namespace restkv
