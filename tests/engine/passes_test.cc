// One text, read in different ways: in chunks, token by token, on top of what is held, by several
// threads, in company. What must be the same bit for bit is compared so.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 130;
// Of logits; measured below 1e-11: sums of f32 in another order.
constexpr double kF32Limit = 1e-10;

std::vector<RandomModel> families() {
  RandomModel llama = random_llama();
  llama.rope_factors = true;
  return {llama, random_qwen2(), random_qwen3(), random_gemma(), random_gemma2(), random_gemma3()};
}

EngineOptions with(const std::function<void(EngineOptions&)>& change) {
  EngineOptions options = TestEngine::default_options();
  change(options);
  return options;
}

std::vector<float> row_of(const std::vector<float>& logits, std::size_t i, std::size_t n_vocab) {
  const auto first = logits.begin() + static_cast<std::ptrdiff_t>(i * n_vocab);
  return {first, first + static_cast<std::ptrdiff_t>(n_vocab)};
}

class Passes : public testing::TestWithParam<RandomModel> {};

TEST_P(Passes, ChunksOfAnySizeAgree) {
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 1);
  TestEngine whole(GetParam(), with([](EngineOptions& o) { o.chunk = kTokens; }));
  const std::vector<float> expected = whole.all_logits(tokens, full_cache());
  for (const std::size_t chunk : {1, 7, 64, 100'000}) {
    TestEngine engine(GetParam(), with([&](EngineOptions& o) { o.chunk = chunk; }));
    EXPECT_LE(mean_square_error(engine.all_logits(tokens, full_cache()), expected), kF32Limit)
        << chunk;
    // Without logits of every position the last layer is only finished for the last token.
    const auto alone = engine.prefill(tokens, full_cache());
    EXPECT_LE(mean_square_error(alone.last_logits, std::span(expected).last(100)), kF32Limit)
        << chunk;
  }
}

TEST_P(Passes, DecodeAgreesWithPrefill) {
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 2);
  TestEngine engine(GetParam());
  const std::vector<float> expected = engine.all_logits(tokens, full_cache());
  auto one = engine.prefill(std::span(tokens).first(1), full_cache());
  std::vector<float> decoded = one.last_logits;
  const std::vector<float> others = engine.decode(one.sequence, std::span(tokens).subspan(1));
  decoded.insert(decoded.end(), others.begin(), others.end());
  EXPECT_LE(mean_square_error(decoded, expected), kF32Limit);
  EXPECT_EQ(one.sequence.next_position(), static_cast<Position>(kTokens));
}

TEST_P(Passes, ExtendAgreesWithPrefill) {
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 3);
  TestEngine engine(GetParam());
  const std::vector<float> expected = engine.all_logits(tokens, full_cache());
  // Turns of all kinds: longer and shorter than the window, with decoded tokens in between.
  auto one = engine.prefill(std::span(tokens).first(20), full_cache());
  (void)engine.extend(one.sequence, std::span(tokens).subspan(20, 3));
  (void)engine.decode(one.sequence, std::span(tokens).subspan(23, 7));
  const auto after = engine.extend(one.sequence, std::span(tokens).subspan(30, 70));
  EXPECT_LE(mean_square_error(after, row_of(expected, 99, 100)), kF32Limit);
  const auto decoded = engine.decode(one.sequence, std::span(tokens).subspan(100, 15));
  EXPECT_LE(mean_square_error(decoded, std::span(expected).subspan(100 * 100, 15 * 100)),
            kF32Limit);
  const auto last = engine.extend(one.sequence, std::span(tokens).subspan(115));
  EXPECT_LE(mean_square_error(last, row_of(expected, kTokens - 1, 100)), kF32Limit);
  EXPECT_EQ(one.sequence.next_position(), static_cast<Position>(kTokens));
}

TEST_P(Passes, ForksDoNotDisturbEachOther) {
  const auto tokens = random_tokens(70, GetParam().n_vocab, 4);
  const auto left = random_tokens(40, GetParam().n_vocab, 5);
  const auto right = random_tokens(40, GetParam().n_vocab, 6);
  TestEngine engine(GetParam());
  auto alone = engine.prefill(tokens, full_cache(KvType::kF16));
  const auto expected_left = engine.decode(alone.sequence, left);
  auto other = engine.prefill(tokens, full_cache(KvType::kF16));
  const auto expected_right = engine.decode(other.sequence, right);

  auto parent = engine.prefill(tokens, full_cache(KvType::kF16));
  Sequence child = parent.sequence.fork();
  std::vector<float> seen_left;
  std::vector<float> seen_right;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const auto l = engine.decode(parent.sequence, std::span(left).subspan(i, 1));
    const auto r = engine.decode(child, std::span(right).subspan(i, 1));
    seen_left.insert(seen_left.end(), l.begin(), l.end());
    seen_right.insert(seen_right.end(), r.begin(), r.end());
  }
  EXPECT_EQ(seen_left, expected_left);
  EXPECT_EQ(seen_right, expected_right);
}

TEST_P(Passes, ForksThatAreExtendedDoNotDisturbEachOther) {
  const auto tokens = random_tokens(70, GetParam().n_vocab, 4);
  const auto left = random_tokens(40, GetParam().n_vocab, 5);
  const auto right = random_tokens(30, GetParam().n_vocab, 6);
  TestEngine engine(GetParam());
  auto alone = engine.prefill(tokens, full_cache(KvType::kQ8_0));
  const auto expected = engine.extend(alone.sequence, left);
  const auto expected_next = engine.decode(alone.sequence, right);

  auto parent = engine.prefill(tokens, full_cache(KvType::kQ8_0));
  Sequence child = parent.sequence.fork();
  EXPECT_EQ(engine.extend(parent.sequence, left), expected);
  (void)engine.extend(child, right);
  EXPECT_EQ(engine.decode(parent.sequence, right), expected_next);
}

TEST_P(Passes, ThreadsDoNotChangeABit) {
  struct Way {
    ProductMode products;
    std::size_t n_token;  // short prompts and long ones are multiplied in different ways
  };
  for (const Way way : {Way{ProductMode::kAuto, 20}, Way{ProductMode::kAuto, 90},
                        Way{ProductMode::kF32, 20}, Way{ProductMode::kF32, 3}}) {
    const auto tokens = random_tokens(way.n_token, GetParam().n_vocab, 7);
    const auto next = random_tokens(2, GetParam().n_vocab, 8);
    std::vector<float> expected_prefill;
    std::vector<float> expected_decode;
    for (const int n_threads : {1, 2, 3}) {
      TestEngine engine(GetParam(), with([&](EngineOptions& o) {
                          o.n_threads = n_threads;
                          o.products = way.products;
                        }));
      auto run = engine.prefill(tokens, full_cache(KvType::kF16));
      const auto decoded = engine.decode(run.sequence, next);
      if (n_threads == 1) {
        expected_prefill = run.last_logits;
        expected_decode = decoded;
      }
      EXPECT_EQ(run.last_logits, expected_prefill) << n_threads;
      EXPECT_EQ(decoded, expected_decode) << n_threads;
    }
  }
}

TEST_P(Passes, CompanyDoesNotChangeABitOfDecode) {
  for (const ProductMode products : {ProductMode::kAuto, ProductMode::kF32}) {
    TestEngine engine(GetParam(), with([&](EngineOptions& o) { o.products = products; }));
    // Lengths around pages and blocks, one cache of each type.
    const std::vector<std::size_t> lengths = {1, 15, 16, 17, 90};
    const std::size_t n_vocab = 100;
    const auto next = random_tokens(12, GetParam().n_vocab, 9);
    std::vector<Sequence> sequences;
    std::vector<std::vector<float>> expected;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const auto tokens = random_tokens(lengths[i], GetParam().n_vocab, 10 + unsigned(i));
      auto run = engine.prefill(tokens, full_cache(kAllKvTypes[i]));
      Sequence alone = run.sequence.fork();
      expected.push_back(engine.decode(alone, next));
      sequences.push_back(std::move(run.sequence));
    }
    std::vector<Sequence*> together;
    for (Sequence& sequence : sequences) together.push_back(&sequence);
    std::vector<float> logits(sequences.size() * n_vocab);
    for (std::size_t step = 0; step < next.size(); ++step) {
      const std::vector<Token> tokens(sequences.size(), next[step]);
      ASSERT_TRUE(
          engine->decode(together, tokens, {logits.data(), sequences.size(), n_vocab}).ok());
      for (std::size_t i = 0; i < sequences.size(); ++i) {
        EXPECT_EQ(row_of(logits, i, n_vocab), row_of(expected[i], step, n_vocab)) << i;
      }
    }
  }
}

// A cache of several segments: its parts are merged in a fixed order.
TEST(LongCache, ThreadsAndCompanyDoNotChangeABit) {
  RandomModel model = random_llama();
  model.n_layer = 1;
  const auto tokens = random_tokens(2100, model.n_vocab, 11);
  const auto next = random_tokens(4, model.n_vocab, 12);
  std::vector<float> expected;
  for (const int n_threads : {1, 2, 3}) {
    TestEngine engine(model, with([&](EngineOptions& o) {
                        o.n_threads = n_threads;
                        o.chunk = 512;
                        o.products = ProductMode::kAuto;
                      }));
    auto run = engine.prefill(tokens, full_cache(KvType::kF16));
    const auto decoded = engine.decode(run.sequence, next);
    if (n_threads == 1) expected = decoded;
    EXPECT_EQ(decoded, expected);
  }
}

TEST(Logits, AreGivenFromWhereTheyAreAskedFor) {
  const RandomModel model = random_llama();
  TestEngine engine(model);
  const auto tokens = random_tokens(kTokens, model.n_vocab, 13);
  const std::vector<float> all = engine.all_logits(tokens, full_cache());
  for (const std::size_t from : {std::size_t{1}, std::size_t{65}, kTokens - 1, kTokens}) {
    std::vector<float> seen;
    std::size_t expected_first = from;
    PrefillOptions options;
    options.logits_from = from;
    options.on_logits = [&](std::size_t first, View2<const float> logits) {
      EXPECT_EQ(first, expected_first);
      expected_first += logits.rows;
      for (std::size_t i = 0; i < logits.rows; ++i) {
        seen.insert(seen.end(), logits.row(i).begin(), logits.row(i).end());
      }
    };
    const KvOptions variant = full_cache();
    std::vector<float> last;
    ASSERT_TRUE(engine->prefill(tokens, {&variant, 1}, options, last).ok());
    ASSERT_EQ(seen.size(), (kTokens - from) * 100);
    if (from < kTokens) {
      EXPECT_LE(mean_square_error(seen, std::span(all).last(seen.size())), kF32Limit);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Passes, testing::ValuesIn(families()), family_name);

}  // namespace
}  // namespace restkv
