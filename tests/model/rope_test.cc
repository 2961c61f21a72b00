// Angles against long double, at positions where floats are 1/128 of a radian apart and more.
// libllama multiplies its angles up in f32, so far out the two differ by as much; within a few
// thousand positions they agree (engine/libllama_test.cc).

#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace restkv {
namespace {

TEST(RopeAngles, AreExactAtLongPositions) {
  constexpr int kRotated = 64;
  const RopeConfig rope{.base = 1e6, .freq_scale = 0.25};
  const std::vector<Position> positions = {0, 1, 4095, 100'000, 1'000'003};
  const std::vector<float> factors(kRotated / 2, 3.0F);
  RopeAngles angles;
  angles.compute(rope, {}, kRotated, factors, positions);
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (int i = 0; i < kRotated / 2; ++i) {
      const long double angle = positions[t] * 0.25L * std::pow(1e6L, -2.0L * i / kRotated) / 3.0L;
      EXPECT_NEAR(angles.row(t)[2 * i], static_cast<double>(std::cos(angle)), 1e-7);
      EXPECT_NEAR(angles.row(t)[2 * i + 1], static_cast<double>(std::sin(angle)), 1e-7);
    }
  }
}

}  // namespace
}  // namespace restkv
