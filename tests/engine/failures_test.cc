// A call that fails leaves everything as it was: the sequence goes on bit for bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/harness.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

class Failures : public testing::Test {
 protected:
  // Runs `fail` on a sequence and compares what follows with a sequence that never saw it.
  template <typename Fail>
  void expect_unchanged(const Fail& fail) {
    auto expected = engine_.prefill(tokens_, options_);
    auto run = engine_.prefill(tokens_, options_);
    const std::size_t bytes = engine_->cache_bytes();
    fail(run.sequence);
    EXPECT_EQ(engine_->cache_bytes(), bytes);
    EXPECT_EQ(run.sequence.next_position(), expected.sequence.next_position());
    EXPECT_EQ(run.sequence.kept_positions(), expected.sequence.kept_positions());
    EXPECT_EQ(run.sequence.report().prompt_tokens, expected.sequence.report().prompt_tokens);
    EXPECT_EQ(engine_.decode(run.sequence, next_), engine_.decode(expected.sequence, next_));
    EXPECT_EQ(engine_.extend(run.sequence, next_), engine_.extend(expected.sequence, next_));
  }

  [[nodiscard]] static KvOptions evicting() {
    KvOptions options;
    options.policy = "streaming-llm";
    options.budget.amount = 40;
    return options;
  }

  RandomModel model_ = random_gemma2();
  TestEngine engine_{model_};
  KvOptions options_ = evicting();
  std::vector<Token> tokens_ = random_tokens(100, model_.n_vocab, 1);
  std::vector<Token> next_ = random_tokens(20, model_.n_vocab, 2);
};

TEST_F(Failures, ACancelledTurn) {
  // At every point where a cancel is looked at: 4 layers of 3 chunks.
  for (int point = 1; point <= 12; ++point) {
    expect_unchanged([&](Sequence& sequence) {
      std::atomic<bool> cancel = false;
      int calls = 0;
      PrefillOptions options;
      options.cancel = &cancel;
      options.on_progress = [&](const PrefillProgress& progress) {
        EXPECT_LE(progress.tokens_done, progress.tokens_total);
        if (++calls == point - 1) cancel = true;
      };
      if (point == 1) cancel = true;
      std::vector<float> logits = {1, 2};
      const auto failed =
          engine_->extend(sequence, random_tokens(150, model_.n_vocab, 3), options, logits);
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
      EXPECT_EQ(calls, point - 1);
      EXPECT_EQ(logits, (std::vector<float>{1, 2}));
    });
  }
}

TEST_F(Failures, ACancelledPrefill) {
  expect_unchanged([&](Sequence&) {
    const std::atomic<bool> cancel = true;
    PrefillOptions options;
    options.cancel = &cancel;
    std::vector<float> logits;
    const auto failed = engine_->prefill(tokens_, {&options_, 1}, options, logits);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
  });
}

// Logits of all tokens take long where the vocabulary is large.
TEST_F(Failures, ACancelAmongTheLogits) {
  std::atomic<bool> cancel = false;
  PrefillOptions options;
  options.cancel = &cancel;
  options.on_logits = [&cancel](std::size_t, View2<const float>) { cancel = true; };
  std::vector<float> logits;
  const auto failed = engine_->prefill(tokens_, {&options_, 1}, options, logits);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
}

// What the parsers of the command line would not let through.
TEST_F(Failures, OptionsOutOfAllBounds) {
  const auto refused = [&](const KvOptions& options) {
    std::vector<float> logits;
    const auto failed = engine_->prefill(tokens_, {&options, 1}, {}, logits);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument) << failed.error().message;
  };
  for (const double amount : {std::nan(""), -5.0, 1e20, 0.0}) {
    KvOptions options = options_;
    options.budget.amount = amount;
    refused(options);
    options = options_;
    options.decode.method = "quest";
    options.decode.budget = Budget{.amount = amount};
    refused(options);
  }
  KvOptions pieces = options_;
  pieces.schedule = {.kind = Schedule::Kind::kChunk,
                     .interval = std::numeric_limits<std::size_t>::max() - 1};
  refused(pieces);
  EngineOptions engine = TestEngine::default_options();
  engine.model_path = engine_.path();
  engine.n_threads = 1 << 20;
  const auto threads = Engine::load(engine);
  ASSERT_FALSE(threads.ok());
  EXPECT_EQ(threads.error().code, ErrorCode::kInvalidArgument);
  // As large a chunk as can be said is the whole prompt, whatever it is rounded to.
  engine.n_threads = 1;
  engine.chunk = std::numeric_limits<std::size_t>::max();
  const auto whole = Engine::load(engine);
  ASSERT_TRUE(whole.ok());
  PrefillOptions pattern;
  pattern.attention.pattern = "tri-shape";
  std::vector<float> logits;
  EXPECT_TRUE((*whole)->prefill(tokens_, {&options_, 1}, pattern, logits).ok());
}

TEST_F(Failures, ATokenOutsideTheVocabulary) {
  for (const Token wrong : {-1, model_.n_vocab}) {
    expect_unchanged([&](Sequence& sequence) {
      std::vector<Token> tokens = next_;
      tokens.back() = wrong;
      std::vector<float> logits;
      const auto failed = engine_->extend(sequence, tokens, {}, logits);
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument);
      EXPECT_EQ(failed.error().message,
                "token " + std::to_string(wrong) + " is outside the vocabulary of 100");
      EXPECT_FALSE(engine_->prefill(tokens, {&options_, 1}, {}, logits).ok());
      Sequence* const one = &sequence;
      std::vector<float> row(100);
      EXPECT_FALSE(engine_->decode({&one, 1}, {&wrong, 1}, {row.data(), 1, 100}).ok());
    });
  }
}

// A model of which one token's embedding is so large that the logits are no numbers.
std::string model_with_a_poisoned_token(const RandomModel& model, Token token) {
  const GgufWriter file = random_model_file(model);
  const std::vector<float> rows = file.expanded("token_embd.weight");
  const auto width = static_cast<std::size_t>(model.n_embd);
  const std::span<const float> row =
      std::span(rows).subspan(static_cast<std::size_t>(token) * width, width);
  std::vector<std::byte> bytes = file.bytes();
  const auto found = std::ranges::search(bytes, std::as_bytes(row)).begin();
  EXPECT_NE(found, bytes.end());
  const float huge = 3e38F;
  std::memcpy(&*found, &huge, sizeof huge);
  const std::string path = temporary_model_path("poisoned");
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return path;
}

// A step that fails after all layers have got their row: whatever acts there, each sequence goes on
// as if it had not been asked for.
TEST(FailedStep, EverySequenceGoesOn) {
  const RandomModel model = random_gemma2();
  constexpr Token kPoison = 7;
  EngineOptions options = TestEngine::default_options();
  options.model_path = model_with_a_poisoned_token(model, kPoison);
  const auto engine = Engine::load(options);
  std::filesystem::remove(options.model_path);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const auto decode = [&](std::span<Sequence* const> sequences, Token token) {
    const auto n = sequences.size();
    std::vector<float> logits(n * static_cast<std::size_t>(model.n_vocab));
    const auto done = (*engine)->decode(sequences, std::vector<Token>(n, token),
                                        {logits.data(), n, logits.size() / n});
    return done.ok() ? Result<std::vector<float>>(logits) : done.error();
  };
  std::vector<Token> tokens = random_tokens(100, model.n_vocab, 1);
  std::ranges::replace(tokens, kPoison, kPoison + 1);
  struct Case {
    const char *policy, *schedule, *decode;
  };
  std::vector<Sequence> failed;
  std::vector<Sequence> never;
  for (const Case& one : {Case{"full", "once", "dense"}, Case{"streaming-llm", "cap", "dense"},
                          Case{"h2o", "cap", "dense"}, Case{"rest-kv", "every:2", "dense"},
                          Case{"lacache", "cap", "dense"}, Case{"snapkv", "once", "quest"}}) {
    KvOptions kv;
    kv.policy = one.policy;
    kv.budget.amount = 48;
    kv.window = 8;
    kv.schedule = Schedule::parse(one.schedule).value();
    kv.decode.method = one.decode;
    if (kv.decode.method == "quest") {
      kv.decode.method_options = {{"dense-layers", "0"}};
      kv.decode.budget = Budget{.amount = 32};
    }
    std::vector<float> logits;
    auto read = (*engine)->prefill(tokens, {&kv, 1}, {}, logits);
    ASSERT_TRUE(read.ok()) << read.error().message;
    failed.push_back(std::move(read->front()));
    never.push_back(failed.back().fork());
  }
  std::vector<Sequence*> some;
  std::vector<Sequence*> others;
  for (Sequence& sequence : failed) some.push_back(&sequence);
  for (Sequence& sequence : never) others.push_back(&sequence);
  for (Token token = 10; token < 40; ++token) {
    if (token % 5 == 0) {
      const auto step = decode(some, kPoison);
      ASSERT_FALSE(step.ok());
      EXPECT_EQ(step.error().code, ErrorCode::kCorrupt) << step.error().message;
    }
    const auto step = decode(some, token);
    ASSERT_TRUE(step.ok()) << step.error().message;
    ASSERT_EQ(*step, *decode(others, token)) << "token " << token;
  }
  for (std::size_t i = 0; i < failed.size(); ++i) {
    EXPECT_EQ(failed[i].kept_positions(), never[i].kept_positions()) << i;
    EXPECT_EQ(failed[i].next_position(), never[i].next_position()) << i;
    EXPECT_EQ(failed[i].report().decode.steps, never[i].report().decode.steps) << i;
    EXPECT_EQ(failed[i].report().compressions, never[i].report().compressions) << i;
  }
}

TEST_F(Failures, NothingToRead) {
  expect_unchanged([&](Sequence& sequence) {
    std::vector<float> logits;
    EXPECT_FALSE(engine_->extend(sequence, {}, {}, logits).ok());
    EXPECT_FALSE(engine_->prefill({}, {&options_, 1}, {}, logits).ok());
    EXPECT_FALSE(engine_->prefill(tokens_, {}, {}, logits).ok());
  });
}

// The message of a prefill of these variants.
std::string message_of(Engine& engine, std::span<const Token> tokens,
                       std::span<const KvOptions> variants) {
  std::vector<float> logits;
  const auto failed = engine.prefill(tokens, variants, {}, logits);
  EXPECT_FALSE(failed.ok());
  if (failed.ok()) return "";
  EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument);
  return failed.error().message;
}

TEST_F(Failures, VariantsThatCannotBeMeant) {
  expect_unchanged([&](Sequence&) {
    const KvOptions mixed[] = {full_cache(KvType::kF32), full_cache(KvType::kF16)};
    EXPECT_EQ(message_of(*engine_, tokens_, mixed),
              "f32 caches cannot share a prefill with other types");
    KvOptions small = evicting();
    small.budget.amount = 35;
    EXPECT_EQ(message_of(*engine_, tokens_, {&small, 1}),
              "a budget of 35 tokens is below the 36 protected rows (4 sinks + 32 window)");
    KvOptions unknown = evicting();
    unknown.policy = "no-such";
    EXPECT_TRUE(message_of(*engine_, tokens_, {&unknown, 1}).starts_with("unknown policy"));
    for (const PolicyInfo* policy : all_policies()) {
      if (!policy->even_window) continue;
      KvOptions odd = evicting();
      odd.policy = policy->name;
      odd.window = 31;
      EXPECT_EQ(message_of(*engine_, tokens_, {&odd, 1}),
                std::string(policy->name) + " needs an even window, not 31");
    }
  });
}

TEST(FailuresOfTypes, AQuantisedCacheNeedsWholeBlocks) {
  const RandomModel model = {.n_embd = 72, .n_head = 3, .n_kv_head = 3, .head_dim = 24};
  TestEngine engine(model);
  const KvOptions options = full_cache(KvType::kQ8_0);
  EXPECT_EQ(message_of(*engine, random_tokens(10, 100, 1), {&options, 1}),
            "a q8_0 cache needs a head dimension that is a multiple of 32, not 24");
}

}  // namespace
}  // namespace restkv
