#include "kernels/peak.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/aligned.h"

namespace restkv {
namespace {

TEST(MultiplyLoops, BeginWithF32AndRun) {
  ASSERT_FALSE(multiply_loops().empty());
  EXPECT_EQ(multiply_loops().front().name, "f32");
  for (const MultiplyLoop& loop : multiply_loops()) {
    EXPECT_GE(loop.operations_per_step, 2 * 12.0) << loop.name;
    EXPECT_TRUE(std::isfinite(loop.run(1000))) << loop.name;
    EXPECT_EQ(loop.elements == LoopElements::kInt8, loop.name.starts_with("int8"));
  }
}

// s -> s / 2 + 1 ends at 2 in every lane of every sum; a step counts two for each of them.
TEST(MultiplyLoops, TheF32LoopDoesTheWorkThatItCounts) {
  const MultiplyLoop& loop = multiply_loops().front();
  EXPECT_FLOAT_EQ(loop.run(200), static_cast<float>(loop.operations_per_step));
}

TEST(ReadLoops, ReadEveryNumberOnce) {
  constexpr std::size_t kFloats = 5 * 1024;
  AlignedArray<float> data(kFloats);
  for (std::size_t i = 0; i < kFloats; ++i) data.data()[i] = static_cast<float>(i % 7);
  float expected = 0;
  for (std::size_t i = 0; i < kFloats; ++i) expected += static_cast<float>(i % 7);
  for (const ReadLoop& loop : read_loops()) {
    EXPECT_EQ(loop.run(data.data(), kFloats), expected) << loop.name;  // whole: exact in any order
  }
}

}  // namespace
}  // namespace restkv
