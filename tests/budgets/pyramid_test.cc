#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "budgets/allocators.h"

namespace restkv {
namespace {

std::vector<std::size_t> over_layers(AllocatorCall call) {
  std::vector<std::size_t> kept;
  for (call.layer = 0; call.layer < call.n_layer; ++call.layer) {
    kept.push_back(counts_of("pyramid", call).front());
  }
  return kept;
}

// Budget 42, window 2: 40 past rows. Last layer 40 / 20 = 2, first layer 2 * 40 - 2 = 78, three
// steps of floor(76 / 3) = 25.
TEST(Pyramid, WorkedByHand) {
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {1000}}),
            (std::vector<std::size_t>{80, 55, 30, 5}));
}

// 34 past rows on average, but 64 at most: the first layer keeps all 64, the last 68 - 64 = 4.
TEST(Pyramid, TheFirstLayerCannotKeepMoreThanThereIs) {
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {80}}),
            (std::vector<std::size_t>{80, 55, 30, 5}));
  EXPECT_EQ(over_layers({.budget = 42, .window = 8, .rows = {72}}),
            (std::vector<std::size_t>{72, 52, 32, 12}));
}

TEST(Pyramid, IsUniformForShortPromptsOneLayerAndNothingBesideTheWindow) {
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {79}}),
            (std::vector<std::size_t>{42, 42, 42, 42}));
  EXPECT_EQ(over_layers({.n_layer = 1, .budget = 42, .window = 2, .rows = {1000}}),
            (std::vector<std::size_t>{42}));
  EXPECT_EQ(over_layers({.budget = 2, .window = 2, .rows = {1000}}),
            (std::vector<std::size_t>{2, 2, 2, 2}));
}

TEST(Pyramid, BetaIsTheShareOfTheLastLayer) {
  // Last layer 40 / 2 = 20, first 60, step floor(40 / 3) = 13.
  EXPECT_EQ(counts_of("pyramid:beta=2", {.layer = 0, .budget = 42, .rows = {1000, 500}}),
            (std::vector<std::size_t>{62, 62}));
  EXPECT_EQ(counts_of("pyramid:beta=2", {.layer = 3, .budget = 42, .rows = {1000, 500}}),
            (std::vector<std::size_t>{23, 23}));
}

// The step is rounded down, so that the whole comes to the budget and at most half a step's
// rounding per layer more.
TEST(Pyramid, TheMeanIsTheBudget) {
  for (const int layers : {2, 5, 24, 28}) {
    for (std::size_t budget = 40; budget < 300; budget += 7) {
      std::size_t total = 0;
      for (const std::size_t kept :
           over_layers({.n_layer = layers, .budget = budget, .window = 32, .rows = {5000}})) {
        total += kept;
      }
      const auto n = static_cast<std::size_t>(layers);
      EXPECT_GE(total, n * budget);
      EXPECT_LE(total, n * budget + n * (n - 1) / 2);
    }
  }
}

}  // namespace
}  // namespace restkv
