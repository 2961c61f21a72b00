// Prompts that begin alike: what they share changes no bit of anything, and is counted.

#include "restkv/shared_prefix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string_view>
#include <utility>

#include "engine/harness.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kCommon = 300;
constexpr int kQ8_0 = 8;  // ggml_type: it has a packed form

// Two prompts that begin alike.
std::vector<Token> prompt(std::uint32_t which, std::size_t own = 100) {
  std::vector<Token> tokens = random_tokens(kCommon, 100, 1);
  const std::vector<Token> rest = random_tokens(own, 100, 100 + which);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return tokens;
}

KvOptions options_of(std::string_view policy, KvType type) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = 40;
  options.window = 8;
  options.type_k = type;
  options.type_v = type;
  return options;
}

std::vector<KvOptions> every_policy(KvType type) {
  std::vector<KvOptions> all;
  for (const PolicyInfo* policy : all_policies()) all.push_back(options_of(policy->name, type));
  return all;
}

// One for each kind of need: windows of queries, sums of columns, statistics, nothing.
std::vector<KvOptions> some_policies(KvType type) {
  return {options_of("rest-kv", type), options_of("h2o", type),
          options_of("expected-attention", type), options_of("full", type)};
}

EngineOptions options_with(ProductMode products, std::size_t chunk) {
  EngineOptions options = TestEngine::default_options();
  options.products = products;
  options.chunk = chunk;
  return options;
}

// What a prefill came to: everything that could differ.
struct Came {
  std::vector<float> logits;
  std::vector<KeptPositions> kept;
  std::vector<std::vector<float>> decoded;
  PrefillTimings timings;
  std::vector<std::size_t> peaks;
};

Came read(TestEngine& engine, const std::vector<Token>& tokens,
          const std::vector<KvOptions>& variants, SharedPrefix* prefix) {
  Came came;
  PrefillOptions options;
  options.prefix = prefix;
  auto sequences = engine->prefill(tokens, variants, options, came.logits);
  EXPECT_TRUE(sequences.ok()) << sequences.error().message;
  came.timings = engine->last_prefill();
  for (Sequence& sequence : *sequences) {
    came.kept.push_back(sequence.kept_positions());
    came.peaks.push_back(sequence.report().bytes_peak);
    came.decoded.push_back(engine.decode(sequence, random_tokens(3, 100, 7)));
  }
  return came;
}

void expect_same(const Came& shared, const Came& whole, const std::vector<KvOptions>& variants) {
  EXPECT_EQ(shared.logits, whole.logits);
  ASSERT_EQ(shared.kept.size(), whole.kept.size());
  for (std::size_t i = 0; i < variants.size(); ++i) {
    EXPECT_EQ(shared.kept[i], whole.kept[i]) << variants[i].policy;
    EXPECT_EQ(shared.decoded[i], whole.decoded[i]) << variants[i].policy;
  }
}

SharedPrefix shared_part(TestEngine& engine, std::size_t expected) {
  const std::size_t tokens = engine->shareable_tokens(kCommon);
  EXPECT_EQ(tokens, expected);
  const std::vector<Token> text = prompt(0);
  return SharedPrefix(std::span(text).first(tokens));
}

class SharedPrefixes : public testing::TestWithParam<RandomModel> {};

TEST_P(SharedPrefixes, ChangeNoBit) {
  struct Way {
    ProductMode products;
    std::size_t chunk;
    std::size_t shared;  // of 300 tokens
  };
  // Packed products: whole blocks of queries. oneDNN's: whole chunks.
  for (const Way way : {Way{ProductMode::kAuto, 192, 256}, Way{ProductMode::kAuto, 1000, 256},
                        Way{ProductMode::kAuto, 100, 300}, Way{ProductMode::kF32, 100, 300},
                        Way{ProductMode::kF32, 1000, 0}}) {
    RandomModel model = GetParam();
    model.weight_type = kQ8_0;
    TestEngine engine(model, options_with(way.products, way.chunk));
    for (const KvType type : {KvType::kF16, KvType::kF32}) {
      const bool all = way.chunk == 192 && type == KvType::kF16;
      const std::vector<KvOptions> variants = all ? every_policy(type) : some_policies(type);
      SharedPrefix prefix = shared_part(engine, way.shared);
      for (const std::uint32_t which : {0U, 1U}) {
        const Came whole = read(engine, prompt(which), variants, nullptr);
        const Came shared = read(engine, prompt(which), variants, &prefix);
        expect_same(shared, whole, variants);
        EXPECT_EQ(shared.timings.prefix_tokens, which == 0 ? 0 : way.shared);
      }
      if (way.shared == 0) break;
    }
  }
}

std::vector<RandomModel> families() {
  RandomModel qwen2 = random_qwen2();
  qwen2.n_layer = 2;
  // Windows shorter and longer than a chunk.
  RandomModel gemma2 = random_gemma2();
  gemma2.sliding_window = 50;
  RandomModel gemma3 = random_gemma3();
  gemma3.sliding_window = 150;
  return {qwen2, gemma2, gemma3};
}

INSTANTIATE_TEST_SUITE_P(Families, SharedPrefixes, testing::ValuesIn(families()), family_name);

class OneModel : public testing::Test {
 protected:
  static RandomModel model() {
    RandomModel model = random_llama();
    model.weight_type = kQ8_0;
    return model;
  }
  TestEngine engine_{model(), options_with(ProductMode::kAuto, 1000)};
  SharedPrefix prefix_ = shared_part(engine_, 256);

  Came read_with(const char* policy, std::uint32_t which, SharedPrefix* prefix, int window = 8) {
    KvOptions options;
    options.policy = policy;
    options.budget.amount = 200;
    options.window = window;
    return read(engine_, prompt(which), {options}, prefix);
  }
};

using SharedPrefixTest = OneModel;

// The rows of 256 tokens: f16 keys and values and a position for each KV head and layer.
TEST_F(SharedPrefixTest, CountsItsBytesAndGivesThemBack) {
  EXPECT_EQ(prefix_.bytes(), 0U);
  const std::size_t before = engine_->cache_bytes();
  const std::size_t peak_alone = read_with("snapkv", 0, nullptr).peaks[0];
  const Came first = read_with("snapkv", 0, &prefix_);
  const std::size_t rows = std::size_t{3} * 2 * 256;
  EXPECT_EQ(prefix_.bytes(), rows * (2 * 64 * 2 + sizeof(Position)));
  EXPECT_EQ(engine_->cache_bytes(), before + prefix_.bytes());
  EXPECT_EQ(first.peaks[0], peak_alone + prefix_.bytes());
  const Came second = read_with("snapkv", 1, &prefix_);
  EXPECT_EQ(second.peaks[0], read_with("snapkv", 1, nullptr).peaks[0] + prefix_.bytes());
  // What a replay makes of the rows is no part of it.
  EXPECT_EQ(read_with("kvzip", 0, &prefix_).timings.prefix_tokens, 256U);
  {
    SharedPrefix by_replay = shared_part(engine_, 256);
    const std::size_t with_one = engine_->cache_bytes();
    read_with("kvzip", 0, &by_replay);
    EXPECT_EQ(engine_->cache_bytes(), with_one + by_replay.bytes());
  }
  EXPECT_EQ(second.timings.prefix_ms, first.timings.prefix_ms);
  EXPECT_GT(second.timings.prefix_ms, 0);
  {
    const SharedPrefix gone = std::move(prefix_);
  }
  EXPECT_EQ(engine_->cache_bytes(), before);
}

// Sums and statistics over its queries are held where a policy asked for them, and it is read anew
// for one that asks for more.
TEST_F(SharedPrefixTest, IsReadAgainForAPolicyThatNeedsMore) {
  EXPECT_EQ(read_with("snapkv", 0, &prefix_).timings.prefix_tokens, 0U);
  const std::size_t rows = prefix_.bytes();
  EXPECT_EQ(read_with("h2o", 1, &prefix_).timings.prefix_tokens, 0U);
  EXPECT_EQ(prefix_.bytes(), rows + std::size_t{3} * 2 * 256 * sizeof(float));
  EXPECT_EQ(read_with("h2o", 2, &prefix_).timings.prefix_tokens, 256U);
  const Came other = read_with("snapkv", 3, &prefix_);
  EXPECT_EQ(other.timings.prefix_tokens, 256U);
  // A policy alone would not hold the sums of another.
  EXPECT_EQ(other.peaks[0], read_with("snapkv", 3, nullptr).peaks[0] + rows);
  EXPECT_EQ(read_with("expected-attention", 4, &prefix_).timings.prefix_tokens, 0U);
  const std::size_t dim = 64;
  EXPECT_EQ(prefix_.bytes(), rows + std::size_t{3} * 4 * (dim + dim * dim) * sizeof(double));
  const Came shared = read_with("expected-attention", 5, &prefix_);
  EXPECT_EQ(shared.timings.prefix_tokens, 256U);
  EXPECT_EQ(shared.kept, read_with("expected-attention", 5, nullptr).kept);
}

// A prompt of less than 32 tokens is read by other products where weights are not packed.
TEST(SharedPrefixTokens, AreThoseThatEveryPromptReadsAlike) {
  RandomModel model = random_llama();
  model.weight_type = kQ8_0;
  EngineOptions options = options_with(ProductMode::kAuto, 16);
  options.order = WeightOrder::kKeep;
  TestEngine engine(model, options);
  EXPECT_EQ(engine->shareable_tokens(16), 0U);
  EXPECT_EQ(engine->shareable_tokens(32), 32U);
  options.products = ProductMode::kF32;
  options.chunk = 2;
  TestEngine exact(model, options);
  EXPECT_EQ(exact->shareable_tokens(2), 0U);
  EXPECT_EQ(exact->shareable_tokens(4), 4U);
}

// Where it cannot be used the prompt is read whole, to the same result.
// What may be shared of a beginning may be shared as a whole.
TEST(SharedPrefixTokens, AreThoseThatTheyAre) {
  for (const std::size_t chunk : {1U, 50U, 64U, 100U, 300U, 1000U}) {
    EngineOptions options = TestEngine::default_options();
    options.chunk = chunk;
    for (const ProductMode products : {ProductMode::kF32, ProductMode::kAuto}) {
      options.products = products;
      TestEngine engine(random_llama(), options);
      for (std::size_t tokens = 0; tokens < 1500; tokens += 7) {
        const std::size_t shared = engine->shareable_tokens(tokens);
        EXPECT_LE(shared, tokens);
        EXPECT_EQ(engine->shareable_tokens(shared), shared) << chunk << " " << tokens;
      }
    }
  }
}

TEST_F(SharedPrefixTest, IsNotUsedWhereItWouldChangeSomething) {
  read_with("full", 0, &prefix_);
  // The window of the last 145 tokens begins in what is shared.
  const Came wide = read_with("snapkv", 1, &prefix_, 145);
  EXPECT_EQ(wide.timings.prefix_tokens, 0U);
  EXPECT_EQ(wide.kept, read_with("snapkv", 1, nullptr, 145).kept);
  EXPECT_EQ(read_with("snapkv", 1, &prefix_, 144).timings.prefix_tokens, 256U);
  KvOptions pieces;
  pieces.policy = "snapkv";
  pieces.budget.amount = 120;
  pieces.schedule = Schedule::parse("chunk:128").value();
  EXPECT_EQ(read(engine_, prompt(1), {pieces}, &prefix_).timings.prefix_tokens, 0U);
  const std::vector<KvOptions> full = {full_cache(KvType::kF16)};
  std::vector<float> logits;
  PrefillOptions options;
  options.prefix = &prefix_;
  std::size_t seen = 0;
  options.on_logits = [&](std::size_t, View2<const float> rows) { seen += rows.rows; };
  ASSERT_TRUE(engine_->prefill(prompt(1), full, options, logits).ok());
  EXPECT_EQ(seen, prompt(1).size());
  EXPECT_EQ(engine_->last_prefill().prefix_tokens, 0U);
}

TEST_F(SharedPrefixTest, AnotherBeginningIsRefused) {
  const std::vector<KvOptions> full = {full_cache(KvType::kF16)};
  std::vector<float> logits;
  PrefillOptions options;
  options.prefix = &prefix_;
  auto other = prompt(0);
  other[255] = (other[255] + 1) % 100;
  for (const std::vector<Token>& tokens :
       {other, std::vector<Token>(other.begin(), other.begin() + 100)}) {
    const auto refused = engine_->prefill(tokens, full, options, logits);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
  SharedPrefix odd{std::span(other).first(100)};
  options.prefix = &odd;
  EXPECT_FALSE(engine_->prefill(other, full, options, logits).ok());
}

// An interrupted prompt leaves nothing half filled.
TEST_F(SharedPrefixTest, AFailureLeavesItEmpty) {
  const std::vector<KvOptions> full = {full_cache(KvType::kF16)};
  const std::size_t before = engine_->cache_bytes();
  std::vector<float> logits;
  std::atomic<bool> cancel = false;
  PrefillOptions options;
  options.prefix = &prefix_;
  options.cancel = &cancel;
  options.on_progress = [&](const PrefillProgress& now) { cancel = now.tokens_done > 200; };
  ASSERT_FALSE(engine_->prefill(prompt(0), full, options, logits).ok());
  EXPECT_EQ(prefix_.bytes(), 0U);
  EXPECT_EQ(engine_->cache_bytes(), before);
  EXPECT_EQ(read_with("full", 1, &prefix_).timings.prefix_tokens, 0U);
  EXPECT_EQ(read_with("full", 2, &prefix_).timings.prefix_tokens, 256U);
}

}  // namespace
}  // namespace restkv
