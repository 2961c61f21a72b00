// What a method may not change: a prompt that fits, and the results of the others that share its
// prefill. Loops over the tables, so that a new policy or allocator is among them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/harness.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 120;
constexpr std::size_t kSteps = 20;

std::vector<KvOptions> all_combinations(double budget) {
  std::vector<KvOptions> all;
  for (const PolicyInfo* policy : all_policies()) {
    for (const AllocatorInfo* allocator : all_allocators()) {
      KvOptions options;
      options.policy = policy->name;
      options.allocator = allocator->name;
      options.budget.amount = budget;
      options.window = 8;
      all.push_back(options);
    }
  }
  return all;
}

class Variants : public testing::TestWithParam<RandomModel> {};

TEST_P(Variants, APromptThatFitsIsNeverTouched) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 1);
  const auto next = random_tokens(kSteps, GetParam().n_vocab, 2);
  auto full = engine.prefill(tokens, full_cache(KvType::kF16));
  const auto expected = engine.decode(full.sequence, next);
  for (const KvOptions& options : all_combinations(kTokens)) {
    auto run = engine.prefill(tokens, options);
    EXPECT_EQ(run.last_logits, full.last_logits) << options.policy << " " << options.allocator;
    const KvReport report = run.sequence.report();
    EXPECT_TRUE(report.untouched);
    EXPECT_EQ(report.dropped_tokens_mean, 0);
    EXPECT_EQ(engine.decode(run.sequence, next), expected)
        << options.policy << " " << options.allocator;
  }
}

TEST_P(Variants, APromptThatGrowsAndStillFitsIsNeverTouched) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 3);
  for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
    auto full = engine.prefill(std::span(tokens).first(50), full_cache(type));
    const auto expected = engine.extend(full.sequence, std::span(tokens).subspan(50, 40));
    const auto expected_next = engine.decode(full.sequence, std::span(tokens).subspan(90));
    for (KvOptions options : all_combinations(90)) {
      options.type_k = type;
      options.type_v = type;
      auto run = engine.prefill(std::span(tokens).first(50), options);
      EXPECT_EQ(engine.extend(run.sequence, std::span(tokens).subspan(50, 40)), expected);
      EXPECT_EQ(engine.decode(run.sequence, std::span(tokens).subspan(90)), expected_next)
          << options.policy << " " << options.allocator;
    }
  }
}

TEST_P(Variants, ASharedPrefillGivesEachWhatItGetsAlone) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 4);
  const auto next = random_tokens(5, GetParam().n_vocab, 5);
  std::vector<KvOptions> variants;
  for (const double budget : {16.0, 40.0}) {
    for (KvOptions options : all_combinations(budget)) {
      variants.push_back(options);
      options.window = 4;
      options.type_k = KvType::kQ8_0;
      variants.push_back(options);
    }
  }
  std::vector<float> logits;
  auto shared = engine->prefill(tokens, variants, {}, logits);
  ASSERT_TRUE(shared.ok()) << shared.error().message;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    auto alone = engine.prefill(tokens, variants[i]);
    Sequence& one = (*shared)[i];
    EXPECT_EQ(alone.last_logits, logits);
    EXPECT_EQ(one.kept_positions(), alone.sequence.kept_positions()) << variants[i].policy;
    EXPECT_EQ(one.bytes(), alone.sequence.bytes());
    EXPECT_EQ(one.report().bytes_peak, alone.sequence.report().bytes_peak) << variants[i].policy;
    EXPECT_EQ(engine.decode(one, next), engine.decode(alone.sequence, next)) << variants[i].policy;
  }
}

// Sinks and window are kept, and the cache holds what the budget says.
TEST_P(Variants, EvictionKeepsTheProtectedRowsAndTheBudget) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 6);
  for (const KvOptions& options : all_combinations(30)) {
    if (find_policy(options.policy)->keeps_all) continue;
    auto run = engine.prefill(tokens, options);
    const KeptPositions kept = run.sequence.kept_positions();
    for (std::size_t layer = 0; layer < kept.size(); ++layer) {
      for (const std::vector<Position>& positions : kept[layer]) {
        EXPECT_TRUE(std::ranges::is_sorted(positions));
        EXPECT_EQ(std::vector<Position>(positions.end() - 8, positions.end()),
                  (std::vector<Position>{112, 113, 114, 115, 116, 117, 118, 119}));
        if (positions.front() >= 4) continue;  // a layer with a sliding window
        EXPECT_EQ(std::vector<Position>(positions.begin(), positions.begin() + 4),
                  (std::vector<Position>{0, 1, 2, 3}));
        if (options.allocator == "uniform") {
          EXPECT_EQ(positions.size(), 30U);
        }
      }
    }
    // What is left can be decoded from and continued.
    (void)engine.decode(run.sequence, std::span(tokens).first(20));
    const auto after = engine.extend(run.sequence, std::span(tokens).first(9));
    EXPECT_TRUE(std::ranges::all_of(after, [](float x) { return std::isfinite(x); }));
    EXPECT_EQ(run.sequence.next_position(), 149);
  }
}

// Kept and dropped are all rows that a full cache would hold, whichever turn dropped them.
TEST_P(Variants, TheReportOfATurnCountsWhatEarlierTurnsDropped) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 7);
  auto full = engine.prefill(tokens, full_cache(KvType::kF16));
  const double all = full.sequence.report().kept_tokens_mean;
  for (const KvOptions& options : all_combinations(30)) {
    auto run = engine.prefill(std::span(tokens).first(80), options);
    engine.extend(run.sequence, std::span(tokens).subspan(80, 25));
    engine.extend(run.sequence, std::span(tokens).subspan(105));
    const KvReport report = run.sequence.report();
    EXPECT_EQ(report.prompt_tokens, kTokens);
    EXPECT_DOUBLE_EQ(report.kept_tokens_mean + report.dropped_tokens_mean, all) << options.policy;
    EXPECT_EQ(report.untouched, find_policy(options.policy)->keeps_all) << options.policy;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Variants,
                         testing::Values(random_llama(), random_gemma2(), random_gemma3()),
                         family_name);

}  // namespace
}  // namespace restkv
