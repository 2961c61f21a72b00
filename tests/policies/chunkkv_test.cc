// ChunkKV: means of another policy's scores, the same for all heads.

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/compress.h"
#include "policies/layers.h"

namespace restkv {
namespace {

const ParamInfo& score_option() {
  return *std::ranges::find(find_policy("chunkkv")->params, "score", &ParamInfo::name);
}

// Every policy that scores, but itself.
TEST(ChunkKv, TakesTheScoresOfEveryPolicy) {
  std::string names;
  for (const PolicyInfo* policy : all_policies()) {
    if (policy->keeps_all || policy->name == "chunkkv") continue;
    names += (names.empty() ? "" : "|") + std::string(policy->name);
  }
  EXPECT_EQ(score_option().choices, names);
}

// Norms 1 .. 6 in chunks of 2: means 1.5, 3.5, 5.5 of what Knorm scores with the opposite sign. The
// second head's norms are all 2 higher, so both heads' means are 1 lower still.
TEST(ChunkKv, WorkedByHand) {
  TestLayer layer({.n_head = 2, .n_kv_head = 2, .rows = 7, .queries = 1});
  for (std::size_t j = 0; j < 6; ++j) {
    layer.key(0, j)[0] = static_cast<float>(j + 1);
    layer.key(1, j)[0] = static_cast<float>(j + 3);
  }
  layer.key(0, 6)[1] = 20;  // a chunk of one token
  layer.key(1, 6)[1] = 10;
  layer.seal();
  const std::vector<float> wanted = {-2.5F, -2.5F, -4.5F, -4.5F, -6.5F, -6.5F, -15};
  EXPECT_EQ(scores_of({.policy = "chunkkv:score=knorm:chunk=2", .window = 1}, layer.observation()),
            (HeadScores{wanted, wanted}));
}

// The other policy's place is handed on; the budget is met all the same.
TEST(ChunkKv, GoesOnWhereTheOtherPolicyDoes) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 13, .queries = 1});
  layer.seal();
  LayerObservation shown = layer.observation();
  shown.n_layer = 3;
  const auto cut = [&](std::string_view policy, std::vector<ParamValues::Assignment> options) {
    const PolicyInfo* info = find_policy(policy);
    return info->make(*ParamValues::parse(policy, info->params, options))
        ->cut(shown, {.budget = 12}, 0);
  };
  EXPECT_EQ(cut("lacache", {}).spare, 1U);
  EXPECT_EQ(cut("chunkkv", {{"score", "lacache"}}).spare, 0U);
  EXPECT_EQ(cut("chunkkv", {{"score", "lacache"}}).cursor, 7);
  EXPECT_EQ(cut("chunkkv", {{"score", "knorm"}}).cursor, 0);
}

// Chunks are cut by position; a token counts with the heads that hold it.
TEST(ChunkKv, CutsByPosition) {
  TestLayer layer({.n_head = 2, .n_kv_head = 2, .rows = 8, .queries = 1});
  for (std::size_t j = 0; j < 8; ++j) {
    layer.key(0, j)[0] = static_cast<float>(j);
    layer.key(1, j)[0] = static_cast<float>(10 * j);
  }
  layer.keep_positions(0, std::vector<Position>{0, 1, 5, 7});
  layer.keep_positions(1, std::vector<Position>{1, 6, 7});
  // Tokens: 0, (1 + 10) / 2, 5, 60, (7 + 70) / 2; chunks of 4: {0, 5.5} and {5, 60, 38.5}.
  const float first = -2.75F;
  const float second = -103.5F / 3;
  EXPECT_EQ(scores_of({.policy = "chunkkv:score=knorm:chunk=4", .window = 1}, layer.observation()),
            (HeadScores{{first, first, second, second}, {first, second, second}}));
}

// What SnapKV says of the window's own tokens is nothing: a chunk that reaches into the window is
// judged by its other tokens.
TEST(ChunkKv, LeavesOutTheWindow) {
  const TestLayer layer =
      TestLayer::random({.n_head = 4, .n_kv_head = 2, .rows = 67, .queries = 8}, 70);
  const HeadScores tokens = scores_of({.policy = "snapkv"}, layer.observation());
  const HeadScores chunks = scores_of({.policy = "chunkkv:chunk=10"}, layer.observation());
  for (std::size_t j = 0; j < 67; ++j) {
    double sum = 0;
    double count = 0;
    for (std::size_t i = j / 10 * 10; i < std::min<std::size_t>(j / 10 * 10 + 10, 59); ++i) {
      sum += (double{tokens[0][i]} + double{tokens[1][i]}) / 2;
      ++count;
    }
    const double wanted = count > 0 ? sum / count : 0;
    for (const auto& head : chunks) EXPECT_NEAR(head[j], wanted, 1e-6 * wanted) << "row " << j;
  }
}

// It needs and protects what the other policy does.
TEST(ChunkKv, StandsInForTheOtherPolicy) {
  const auto variant_of = [](const std::string& score) {
    KvOptions options;
    options.policy = "chunkkv";
    options.policy_options = {{"score", score}};
    options.protect = Protect::kPaper;
    auto variant = Variant::make(options);
    EXPECT_TRUE(variant.ok());
    return *variant;
  };
  for (const PolicyInfo* policy : all_policies()) {
    if (policy->keeps_all || policy->name == "chunkkv") continue;
    const auto variant = variant_of(std::string(policy->name));
    EXPECT_EQ(variant->needs(), policy->needs) << policy->name;
    EXPECT_EQ(variant->scores_depend_on_budget(), policy->scores_depend_on_budget);
    EXPECT_EQ(variant->protection().sinks, policy->paper_protection.sinks) << policy->name;
    EXPECT_EQ(variant->protection().window, policy->paper_protection.window) << policy->name;
  }
  EXPECT_FALSE(variant_of("lacache")->check_model(std::vector<int>(1)).ok());
  EXPECT_TRUE(variant_of("snapkv")->check_model(std::vector<int>(1)).ok());
  KvOptions odd;
  odd.policy = "chunkkv";
  odd.policy_options = {{"score", "rest-kv"}};
  odd.window = 7;
  EXPECT_FALSE(Variant::make(odd).ok());
}

}  // namespace
}  // namespace restkv
