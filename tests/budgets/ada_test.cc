#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "budgets/allocators.h"

namespace restkv {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Budget 3 for two heads: 6 rows. One is forced for each head, 10 and 4. The best four of what is
// left are 9, 8, 7 and 6, all of head 0.
TEST(Ada, WorkedByHand) {
  EXPECT_EQ(counts_of("ada:alpha=0.34", {.budget = 3, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{5, 1}));
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 2, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{4, 0}));
  EXPECT_EQ(counts_of("ada:alpha=1", {.budget = 2, .scores = {{10, 9, 8, 7, 6}, {4, 3, 2}}}),
            (std::vector<std::size_t>{2, 2}));
}

// Protected rows are at +infinity and count: head 1 has 3 of them, so of 8 rows 5 are left.
TEST(Ada, ProtectedRowsComeFirstAndCount) {
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 4,
                                      .protected_rows = {0, 3},
                                      .scores = {{5, 5, 5, 5, 5, 5}, {kInf, 1, kInf, kInf}}}),
            (std::vector<std::size_t>{5, 3}));
}

TEST(Ada, ProtectedRowsStayEvenIfTheyAreMoreThanTheBudget) {
  EXPECT_EQ(counts_of("ada", {.budget = 2,
                              .protected_rows = {3, 3},
                              .scores = {{kInf, kInf, kInf, 1}, {kInf, kInf, kInf, 1}}}),
            (std::vector<std::size_t>{3, 3}));
}

TEST(Ada, TiesGoToTheLowerHeadAndEverythingFitsIfItFits) {
  EXPECT_EQ(counts_of("ada:alpha=0", {.budget = 2, .scores = {{1, 1, 1}, {1, 1, 1}}}),
            (std::vector<std::size_t>{3, 1}));
  EXPECT_EQ(counts_of("ada", {.budget = 9, .scores = {{1, 1, 1}, {1, 1}}}),
            (std::vector<std::size_t>{3, 2}));
}

// The rule once more by sorting, on random ragged heads with many ties.
TEST(Ada, FollowsThePlainRule) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const std::size_t heads = 1 + random() % 5;
    AllocatorCall call{.budget = 1 + random() % 12};
    std::size_t held = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      call.scores.emplace_back(1 + random() % 20);
      for (float& score : call.scores.back()) score = static_cast<float>(random() % 6);
      held += call.scores.back().size();
    }
    const auto floor = static_cast<std::size_t>(0.2 * static_cast<double>(call.budget));
    std::vector<std::size_t> wanted(heads);
    std::vector<std::tuple<float, std::size_t>> rest;  // -score, head
    std::size_t left = std::min(held, call.budget * heads);
    for (std::size_t h = 0; h < heads; ++h) {
      auto sorted = call.scores[h];
      std::ranges::sort(sorted, std::greater<>());
      wanted[h] = std::min(floor, sorted.size());
      left -= wanted[h];
      for (std::size_t i = wanted[h]; i < sorted.size(); ++i) rest.emplace_back(-sorted[i], h);
    }
    std::ranges::sort(rest);
    for (std::size_t i = 0; i < left; ++i) ++wanted[std::get<1>(rest[i])];
    EXPECT_EQ(counts_of("ada", call), wanted);
  }
}

// Two rows of each head are protected, so a budget of 6 has four beside them. The best eight are
// seven of head 0 and one of head 1.
TEST(Ada, MixesAnEqualShareInAsTheAuthorsCodeDoes) {
  const AllocatorCall call{
      .budget = 6,
      .protected_rows = {2, 2},
      .scores = {{20, 19, 18, 17, 16, 15, 14, 1, kInf, kInf}, {9, 0.5F, 0.25F, kInf, kInf}}};
  EXPECT_EQ(counts_of("ada:form=ffy0:alpha=0", call), (std::vector<std::size_t>{9, 3}));
  // 3.5 + 2 and 0.5 + 2: halves go to the even number.
  EXPECT_EQ(counts_of("ada:form=ffy0:alpha=0.5", call), (std::vector<std::size_t>{8, 4}));
  EXPECT_EQ(counts_of("ada:form=ffy0:alpha=1", call), (std::vector<std::size_t>{6, 6}));
  // 5.6 + 0 and 0.8 + 0: the equal share of 0.8 is rounded down, and the total is a row short.
  EXPECT_EQ(counts_of("ada:form=ffy0", call), (std::vector<std::size_t>{8, 3}));
}

// Budget 2: the best two of head 0 hold half of it, those of head 1 all. Its fours become twos.
TEST(Ada, NormalizesByWhatTheBestRowsHold) {
  const AllocatorCall call{.budget = 2, .scores = {{4, 4, 4, 4}, {3.5F, 0, 0, 3}}};
  EXPECT_EQ(counts_of("ada:alpha=0", call), (std::vector<std::size_t>{4, 0}));
  EXPECT_EQ(counts_of("ada:alpha=0:normalize=on", call), (std::vector<std::size_t>{2, 2}));
  EXPECT_EQ(counts_of("ada:form=ffy0:alpha=0:normalize=on", call),
            (std::vector<std::size_t>{2, 2}));
  // Negative scores have no share of their sum.
  const AllocatorCall negative{.budget = 2, .scores = {{-4, -4, -4, -4}, {-5, -6, -6, -5}}};
  EXPECT_EQ(counts_of("ada:alpha=0:normalize=on", negative), (std::vector<std::size_t>{4, 0}));
}

TEST(Ada, SaysWhichFormsThereAre) {
  const AllocatorInfo* info = find_allocator("ada");
  const auto message_of = [&](const char* option, const char* value) {
    const ParamValues::Assignment written(option, value);
    const auto values = ParamValues::parse(info->name, info->params, {&written, 1});
    return values.ok() ? std::string() : values.error().message;
  };
  EXPECT_NE(message_of("form", "paper").find("kvpress|ffy0"), std::string::npos);
  EXPECT_NE(message_of("normalize", "1").find("off"), std::string::npos);
}

// Every head is rounded by itself: up by half a row at the most, down by that and what is left of
// the equal share. Nobody gives a protected row away, or gets what it does not have.
TEST(Ada, OfTheAuthorsMissesTheBudgetByRoundingOnly) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 500; ++trial) {
    const std::size_t heads = 1 + random() % 6;
    const std::size_t rows = 30 + random() % 60;
    const std::size_t guarded = random() % 10;
    AllocatorCall call{.budget = guarded + random() % (rows - guarded)};
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<float>& head = call.scores.emplace_back(rows, kInf);
      for (std::size_t i = guarded; i < rows; ++i) head[i] = static_cast<float>(random() % 50);
      call.protected_rows.push_back(guarded);
    }
    for (const char* form : {"ada:form=ffy0", "ada:form=ffy0:alpha=0.5",
                             "ada:form=ffy0:normalize=on", "ada:form=ffy0:alpha=0.37"}) {
      const std::vector<std::size_t> counts = counts_of(form, call);
      const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
      EXPECT_LE(2 * total, (2 * call.budget + 1) * heads) << form;
      EXPECT_GE(2 * total + 3 * heads, 2 * call.budget * heads) << form;
      for (const std::size_t count : counts) {
        EXPECT_GE(count, guarded) << form;
        EXPECT_LE(count, rows) << form;
      }
    }
  }
}

}  // namespace
}  // namespace restkv
