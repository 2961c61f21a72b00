#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "budgets/allocators.h"

namespace restkv {
namespace {

std::vector<std::size_t> over_layers(AllocatorCall call, const char* allocator = "pyramid") {
  std::vector<std::size_t> kept;
  for (call.layer = 0; call.layer < call.n_layer; ++call.layer) {
    kept.push_back(counts_of(allocator, call).front());
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

// 40 past rows on average of 60: the first layer keeps them all, the last 80 - 60 = 20; a step is
// floor(40 / 3) = 13. The other form does not look at it.
TEST(Pyramid, OfRestKvIsNoDifferentForShortTexts) {
  const AllocatorCall call{.budget = 42, .window = 2, .rows = {62}};
  EXPECT_EQ(over_layers(call, "pyramid:form=restkv"), (std::vector<std::size_t>{62, 49, 36, 23}));
  EXPECT_EQ(over_layers(call), (std::vector<std::size_t>{42, 42, 42, 42}));
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {1000}}, "pyramid:form=restkv"),
            (std::vector<std::size_t>{80, 55, 30, 5}));
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {41}}, "pyramid:form=restkv"),
            (std::vector<std::size_t>{42, 42, 42, 42}))
      << "everything fits";
}

// Budget 42, window included: the last layer 42 / 20 = 2.1, the first 81.9, steps of 26.6. With a
// window of 3 the last would be below it.
TEST(Pyramid, OfKvPressRoundsEachLayerAndCountsTheWindowIn) {
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {1000}}, "pyramid:form=kvpress"),
            (std::vector<std::size_t>{82, 55, 29, 2}));
  EXPECT_EQ(over_layers({.budget = 42, .window = 3, .rows = {1000}}, "pyramid:form=kvpress"),
            (std::vector<std::size_t>{42, 42, 42, 42}));
  // 58 at most, so the last 26: steps of 32 / 3.
  EXPECT_EQ(over_layers({.budget = 42, .window = 2, .rows = {60}}, "pyramid:form=kvpress"),
            (std::vector<std::size_t>{58, 47, 37, 26}));
  EXPECT_EQ(
      over_layers({.n_layer = 1, .budget = 42, .window = 2, .rows = {99}}, "pyramid:form=kvpress"),
      (std::vector<std::size_t>{42}));
}

TEST(Pyramid, SaysWhichFormsThereAre) {
  const AllocatorInfo* info = find_allocator("pyramid");
  const ParamValues::Assignment written("form", "flat");
  const auto values = ParamValues::parse(info->name, info->params, {&written, 1});
  ASSERT_FALSE(values.ok());
  EXPECT_NE(values.error().message.find("factory|restkv|kvpress"), std::string::npos)
      << values.error().message;
}

// A step that is rounded down by f of the L - 1 parts of a row leaves f * L * (L - 1) / 2 rows more
// than the budget in all layers together, and f is (L - 2) / (L - 1) at the most. What kvpress
// rounds comes to the budget again.
TEST(Pyramid, TheTotalIsTheBudgetOrAsMuchMoreAsTheFormRounds) {
  for (const int layers : {2, 5, 24, 28}) {
    for (std::size_t budget = 40; budget < 1500; budget += 7) {
      for (const std::size_t rows : {budget, 2 * budget - 60, 2 * budget - 20, std::size_t{5000}}) {
        const AllocatorCall call{
            .n_layer = layers, .budget = budget, .window = 32, .rows = {std::max(rows, budget)}};
        SCOPED_TRACE(std::to_string(layers) + " layers, budget " + std::to_string(budget) + " of " +
                     std::to_string(rows));
        const auto n = static_cast<std::size_t>(layers);
        for (const char* form : {"pyramid", "pyramid:form=restkv"}) {
          const std::vector<std::size_t> kept = over_layers(call, form);
          const std::size_t total = std::accumulate(kept.begin(), kept.end(), std::size_t{0});
          EXPECT_GE(total, n * budget) << form;
          EXPECT_LE(total, n * budget + n * (n - 2) / 2) << form;
          EXPECT_TRUE(std::ranges::is_sorted(kept, std::greater())) << form;
        }
        const std::vector<std::size_t> kept = over_layers(call, "pyramid:form=kvpress");
        EXPECT_EQ(std::accumulate(kept.begin(), kept.end(), std::size_t{0}), n * budget);
        EXPECT_TRUE(std::ranges::is_sorted(kept, std::greater()));
      }
    }
  }
}

// What docs/design.md says of a model of 24 layers.
TEST(Pyramid, MeansOfTwentyFourLayers) {
  const auto mean = [](std::size_t budget) {
    const std::vector<std::size_t> kept =
        over_layers({.n_layer = 24, .budget = budget, .window = 32, .rows = {3000}});
    return static_cast<double>(std::accumulate(kept.begin(), kept.end(), std::size_t{0})) / 24;
  };
  EXPECT_EQ(mean(64), 72);
  EXPECT_EQ(mean(128), 128);
  EXPECT_EQ(mean(256), 262);
  EXPECT_EQ(mean(1024), 1024);
}

}  // namespace
}  // namespace restkv
