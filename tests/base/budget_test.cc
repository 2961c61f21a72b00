// Budgets as users write them and as reports repeat them.

#include "restkv/budget.h"

#include <gtest/gtest.h>

namespace restkv {
namespace {

TEST(Budget, IsRepeatedAsItWasWritten) {
  for (const char* text : {"1", "64", "1024", "99999", "100000", "1000000", "1000000000", "10%",
                           "2.5%", "0.1%", "100%"}) {
    const auto budget = Budget::parse(text);
    ASSERT_TRUE(budget.ok()) << text;
    EXPECT_EQ(budget->text(), text);
  }
}

TEST(Budget, OfNothingOrOfMoreThanAllIsRefused) {
  for (const char* text :
       {"", "0", "-1", "1.5", "2000000000", "0%", "101%", "%", "10 %", "nan", "inf", "64x"}) {
    EXPECT_FALSE(Budget::parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace restkv
