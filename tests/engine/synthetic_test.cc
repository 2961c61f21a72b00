// Caches that nobody has read: they must hold what a read prompt of that length would hold.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/harness.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 300;

KvOptions with_policy(std::string policy, std::string allocator) {
  KvOptions options;
  options.policy = std::move(policy);
  options.allocator = std::move(allocator);
  options.budget.amount = 64;
  options.window = 8;
  return options;
}

std::vector<std::size_t> rows_of_each_head(const Sequence& sequence) {
  std::vector<std::size_t> rows;
  for (const auto& layer : sequence.kept_positions()) {
    for (const auto& head : layer) rows.push_back(head.size());
  }
  return rows;
}

class Synthetic : public testing::TestWithParam<RandomModel> {};

// Where the allocator does not look at scores, the counts are those of a prefill.
TEST_P(Synthetic, HoldsAsManyRowsAndBytesAsAReadPrompt) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 1);
  for (const KvOptions& options :
       {full_cache(KvType::kF16), full_cache(KvType::kQ8_0), with_policy("rest-kv", "uniform"),
        with_policy("snapkv", "pyramid"), with_policy("h2o", "uniform")}) {
    const Sequence made = engine->synthetic_sequence(kTokens, options).value();
    const auto read = engine.prefill(tokens, options);
    EXPECT_EQ(rows_of_each_head(made), rows_of_each_head(read.sequence)) << options.policy;
    EXPECT_EQ(made.bytes(), read.sequence.bytes());
    EXPECT_EQ(made.rows(), read.sequence.rows());
    EXPECT_EQ(made.next_position(), read.sequence.next_position());
    const KvReport a = made.report();
    const KvReport b = read.sequence.report();
    EXPECT_EQ(a.options, b.options);
    EXPECT_EQ(a.budget, b.budget);
    EXPECT_EQ(a.kept_tokens_mean, b.kept_tokens_mean);
    EXPECT_EQ(a.bytes_full, b.bytes_full);
    EXPECT_EQ(a.untouched, b.untouched);
  }
}

// All of the budget, or all that a layer with a sliding window may see.
TEST_P(Synthetic, MeetsTheBudgetWithAnAllocatorThatLooksAtScores) {
  TestEngine engine(GetParam());
  double rows = 0;
  for (const int window : engine->model().sliding_windows) {
    rows += window > 0 ? std::min(window, 64) : 64;
  }
  for (const char* allocator : {"ada", "global"}) {
    const Sequence made =
        engine->synthetic_sequence(kTokens, with_policy("snapkv", allocator)).value();
    EXPECT_DOUBLE_EQ(made.report().kept_tokens_mean, rows / GetParam().n_layer) << allocator;
  }
}

TEST_P(Synthetic, IsTheSameForTheSameSeed) {
  TestEngine engine(GetParam());
  const auto logits_of = [&](std::uint64_t seed) {
    KvOptions options = full_cache(KvType::kF16);
    options.seed = seed;
    Sequence sequence = engine->synthetic_sequence(kTokens, options).value();
    return engine.decode(sequence, random_tokens(3, GetParam().n_vocab, 2));
  };
  const std::vector<float> once = logits_of(1);
  EXPECT_EQ(once, logits_of(1));
  EXPECT_NE(once, logits_of(2));
  for (const float logit : once) EXPECT_TRUE(std::isfinite(logit));
}

// What grows from an empty cache, token by token, is what a prefill of the same tokens gives.
TEST_P(Synthetic, OfNoTokensIsAnEmptyCache) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(20, GetParam().n_vocab, 3);
  Sequence empty = engine->synthetic_sequence(0, full_cache()).value();
  EXPECT_EQ(empty.next_position(), 0);
  EXPECT_EQ(empty.rows(), 0U);
  const std::vector<float> grown = engine.decode(empty, tokens);
  const std::vector<float> read = engine.all_logits(tokens, full_cache());
  EXPECT_LT(mean_square_error(grown, read), 1e-8);
}

TEST_P(Synthetic, CanBeReadOn) {
  TestEngine engine(GetParam());
  const auto more = random_tokens(50, GetParam().n_vocab, 4);
  Sequence made = engine->synthetic_sequence(kTokens, with_policy("rest-kv", "uniform")).value();
  for (const float logit : engine.extend(made, more)) EXPECT_TRUE(std::isfinite(logit));
  EXPECT_EQ(made.next_position(), static_cast<Position>(kTokens + more.size()));
  EXPECT_LE(made.report().kept_tokens_max, 64U);
}

INSTANTIATE_TEST_SUITE_P(, Synthetic, testing::Values(random_llama(), random_gemma3()),
                         family_name);

TEST(SyntheticErrors, AreThoseOfAPrefill) {
  TestEngine engine(random_llama());
  EXPECT_EQ(engine->synthetic_sequence(10, with_policy("nope", "uniform")).error().code,
            ErrorCode::kInvalidArgument);
  // Rows that a sliding window has left have no place side by side.
  TestEngine sliding(random_gemma3());
  KvOptions renumbered = with_policy("streaming-llm", "uniform");
  renumbered.policy_options = {{"positions", "renumbered"}};
  const auto refused = sliding->synthetic_sequence(100, renumbered);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
}

// By hand: 3 layers of 128 x (4 heads + 2 x 2 KV heads) x 64, a square output of 256 x 128 and an
// MLP of 3 x 128 x 192, and 100 x 128 for the logits.
TEST(WeightCounts, AreThoseOfTheMatrices) {
  TestEngine engine(random_llama());
  const WeightCounts& weights = engine->model().weights;
  EXPECT_EQ(weights.projections, 3U * 128 * 8 * 64);
  EXPECT_EQ(weights.rest, 3U * (256 * 128 + 3 * 128 * 192));
  EXPECT_EQ(weights.output, 100U * 128);
  EXPECT_EQ(weights.decode_bytes, 4 * (weights.projections + weights.rest + weights.output));
  EXPECT_GE(weights.all, weights.projections + weights.rest + weights.output);
  EXPECT_EQ(engine->model().sliding_windows, std::vector<int>(3, 0));
}

}  // namespace
}  // namespace restkv
