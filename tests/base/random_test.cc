#include "base/random.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>

namespace restkv {
namespace {

// The published sequence of SplitMix64 from 1234567.
TEST(Random, IsSplitMix64) {
  std::uint64_t state = 1234567;
  EXPECT_EQ(next_random(state), 6457827717110365317U);
  EXPECT_EQ(next_random(state), 3203168211198807973U);
  EXPECT_EQ(next_random(state), 9817491932198370423U);
  EXPECT_EQ(next_random(state), 4593380528125082431U);
  EXPECT_EQ(next_random(state), 16408922859458223821U);
}

TEST(RandomAt, DependsOnEachArgumentAndItsPlace) {
  std::set<std::uint64_t> draws;
  std::size_t count = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (std::uint64_t a = 0; a < 8; ++a) {
      for (std::uint64_t b = 0; b < 8; ++b) {
        for (std::uint64_t c = 0; c < 8; ++c, ++count) draws.insert(random_at(seed, a, b, c));
      }
    }
  }
  EXPECT_EQ(draws.size(), count);
  EXPECT_EQ(random_at(1, 2, 3, 4), random_at(1, 2, 3, 4));
}

// Neighbours differ in half of their bits: of 64 x 1000 tosses, 5 deviations are 632.
TEST(RandomAt, NeighboursShareNothing) {
  for (int argument = 0; argument < 4; ++argument) {
    int flipped = 0;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const auto draw = [&](std::uint64_t x) {
        return random_at(argument == 0 ? x : 9, argument == 1 ? x : 9, argument == 2 ? x : 9,
                         argument == 3 ? x : 9);
      };
      flipped += std::popcount(draw(i) ^ draw(i + 1));
    }
    EXPECT_NEAR(flipped, 32'000, 632) << argument;
  }
}

}  // namespace
}  // namespace restkv
