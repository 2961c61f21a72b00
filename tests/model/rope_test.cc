// Angles against long double, at positions where floats are 1/128 of a radian apart and more.
// libllama multiplies its angles up in f32, so far out the two differ by as much; within a few
// thousand positions they agree (engine/libllama_test.cc).

#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

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

// Every rest of a multiple of 64, and rests behind large ones.
TEST(RopeAngles, AreExactAtEveryPosition) {
  constexpr int kRotated = 16;
  const RopeConfig rope{.base = 500'000.0, .freq_scale = 1.0};
  std::vector<Position> positions;
  for (Position p = 0; p < 200; ++p) positions.push_back(p);
  for (Position p = 131'000; p < 131'072; ++p) positions.push_back(p);
  RopeAngles angles;
  angles.compute(rope, {}, kRotated, {}, positions);
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (int i = 0; i < kRotated / 2; ++i) {
      const long double angle = positions[t] * std::pow(500'000.0L, -2.0L * i / kRotated);
      EXPECT_NEAR(angles.row(t)[2 * i], static_cast<double>(std::cos(angle)), 1e-7);
      EXPECT_NEAR(angles.row(t)[2 * i + 1], static_cast<double>(std::sin(angle)), 1e-7);
    }
  }
}

// Whatever was computed before, for this kind of layer or others, and whatever stands beside them.
TEST(RopeAngles, AreTheSameBitsInAnyCompany) {
  constexpr int kRotated = 8;
  std::vector<Position> positions;
  for (Position p = 700; p >= 0; p -= 7) positions.push_back(p);
  const auto config_of = [](int kind) { return RopeConfig{.base = 1e4 * (kind + 1)}; };
  RopeAngles used;
  for (int turn = 0; turn < 3; ++turn) {
    for (int kind = 0; kind < 6; ++kind) {
      RopeAngles fresh;
      fresh.compute(config_of(kind), {}, kRotated, {}, positions);
      for (std::size_t t = 0; t < positions.size(); ++t) {
        used.compute(config_of(kind), {}, kRotated, {}, {&positions[t], 1});
        for (int i = 0; i < kRotated; ++i) ASSERT_EQ(used.row(0)[i], fresh.row(t)[i]);
      }
    }
  }
}

}  // namespace
}  // namespace restkv
