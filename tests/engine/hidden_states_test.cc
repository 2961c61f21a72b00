// Hidden states between layers: f32 in place, bf16 rounded once a layer.

#include "engine/hidden_states.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 130;

TEST(HiddenStates, GiveBackWhatWasPutRoundedToTheirType) {
  const Threads threads(2);
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    HiddenStates states(type, best_table(), threads);
    states.reserve(/*n=*/10, /*n_embd=*/33, /*most=*/4);
    for (std::size_t first = 0; first < 10; first += 4) {
      const std::size_t count = std::min<std::size_t>(4, 10 - first);
      const View2<float> rows = states.take_blank(first, count);
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t c = 0; c < 33; ++c) {
          rows.row(i)[c] = 1.0F + static_cast<float>(first + i) + static_cast<float>(c) / 1000.0F;
        }
      }
      states.put(first, rows);
    }
    // A part of what was taken.
    const View2<float> rows = states.take(4, 4);
    rows.row(3)[0] = -512.0F;
    rows.row(0)[0] = 77.0F;  // not put
    states.put(7, rows.slice(3, 1));
    EXPECT_EQ(states.take(7, 1).row(0)[0], -512.0F);
    if (type == KvType::kBf16) {
      EXPECT_EQ(states.take(4, 1).row(0)[0], 5.0F);
    }
    for (const std::size_t token : {0U, 5U, 9U}) {
      const View2<float> row = states.take(token, 1);
      for (std::size_t c = 0; c < 33; ++c) {
        const float wanted = 1.0F + static_cast<float>(token) + static_cast<float>(c) / 1000.0F;
        const float limit = type == KvType::kF32 ? 0.0F : wanted / 256.0F;  // 8 bits
        ASSERT_NEAR(row.row(0)[c], wanted, limit) << token << " " << c;
      }
    }
  }
}

EngineOptions bf16_options(std::size_t chunk) {
  EngineOptions options = TestEngine::default_options();
  options.hidden_type = KvType::kBf16;
  options.chunk = chunk;
  return options;
}

class HiddenTypes : public testing::TestWithParam<RandomModel> {};

// Rounding to 8 bits in each of the few layers: 2^-9 of each number at the most, squared.
TEST_P(HiddenTypes, Bf16IsCloseToF32) {
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 1);
  TestEngine exact(GetParam());
  TestEngine rounded(GetParam(), bf16_options(64));
  const std::vector<float> expected = exact.all_logits(tokens, full_cache());
  const std::vector<float> logits = rounded.all_logits(tokens, full_cache());
  const double error = mean_square_error(logits, expected);
  EXPECT_GT(error, 0.0);  // else it was not used
  EXPECT_LE(error, 1e-3);
}

// The chunks decide what stands in f32 at a time, not what is rounded.
TEST_P(HiddenTypes, ChunksOfAnySizeAgreeInBf16) {
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 2);
  TestEngine whole(GetParam(), bf16_options(kTokens));
  const std::vector<float> expected = whole.all_logits(tokens, full_cache());
  for (const std::size_t chunk : {7, 64}) {
    TestEngine engine(GetParam(), bf16_options(chunk));
    // Sums in another order may fall on the other side of a rounding.
    EXPECT_LE(mean_square_error(engine.all_logits(tokens, full_cache()), expected), 1e-4) << chunk;
    const auto alone = engine.prefill(tokens, full_cache());
    EXPECT_LE(mean_square_error(alone.last_logits, std::span(expected).last(100)), 1e-4) << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, HiddenTypes,
                         testing::Values(random_llama(), random_qwen3(), random_gemma2()),
                         family_name);

TEST(HiddenStates, OtherTypesAreRefused) {
  EngineOptions options = TestEngine::default_options();
  options.hidden_type = KvType::kF16;
  options.model_path = "anything.gguf";
  const auto engine = Engine::load(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().message, "hidden states are kept in f32 or bf16");
}

}  // namespace
}  // namespace restkv
