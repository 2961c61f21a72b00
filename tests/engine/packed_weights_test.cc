// A long prompt lets the packed weights go that it does not need: no bit changes, whatever comes
// after it.

#include <ggml.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "engine/harness.h"
#include "support/resident_bytes.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 150;

RandomModel packed_model() {
  RandomModel model = random_qwen2();
  model.weight_type = GGML_TYPE_Q8_0;
  return model;
}

// weights_go_from: in tokens.
EngineOptions options_with(std::size_t weights_go_from) {
  EngineOptions options = TestEngine::default_options();
  options.products = ProductMode::kAuto;
  options.weights_go_from = weights_go_from;
  return options;
}

KvOptions kept(const char* policy) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = 32;
  options.window = 8;
  return options;
}

bool packs(TestEngine& engine) {
  return engine->prefill_products(kTokens).find("packed") != std::string::npos;
}

// Logits of a prompt, of what is written behind it, of a turn, long or short, and of what is
// written behind that.
std::vector<float> conversation(TestEngine& engine, const KvOptions& options) {
  const auto tokens = random_tokens(kTokens + 60, packed_model().n_vocab, 1);
  const std::span<const Token> all(tokens);
  auto run = engine.prefill(all.first(kTokens), options);
  std::vector<float> logits = run.last_logits;
  const auto add = [&logits](const std::vector<float>& more) {
    logits.insert(logits.end(), more.begin(), more.end());
  };
  add(engine.decode(run.sequence, all.subspan(kTokens, 5)));
  add(engine.extend(run.sequence, all.subspan(kTokens + 5, 40)));
  add(engine.decode(run.sequence, all.subspan(kTokens + 45, 3)));
  add(engine.extend(run.sequence, all.subspan(kTokens + 48, 2)));
  add(engine.decode(run.sequence, all.subspan(kTokens + 50)));
  return logits;
}

TEST(PackedWeights, ThatGoAndComeAgainChangeNoBit) {
  TestEngine stay(packed_model(), options_with(100'000));
  TestEngine go(packed_model(), options_with(1));
  TestEngine some_go(packed_model(), options_with(40));
  if (!packs(stay)) GTEST_SKIP() << "these kernels pack no weights";
  // kvzip reads every layer once more.
  for (const char* policy : {"full", "rest-kv", "h2o", "kvzip"}) {
    const std::vector<float> wanted = conversation(stay, kept(policy));
    EXPECT_EQ(conversation(go, kept(policy)), wanted) << policy;
    EXPECT_EQ(conversation(some_go, kept(policy)), wanted) << policy;
  }
  const auto tokens = random_tokens(kTokens, packed_model().n_vocab, 2);
  EXPECT_EQ(go.all_logits(tokens, full_cache()), stay.all_logits(tokens, full_cache()));
}

// While a layer is in hand there is memory for its weights alone.
TEST(PackedWeights, OfOtherLayersTakeNoMemory) {
  if (mapped_from() > (std::size_t{1} << 30)) GTEST_SKIP() << "a checked heap has more memory";
  RandomModel model = packed_model();
  model.n_layer = 6;
  model.n_embd = 512;
  model.n_ff = 4096;
  const std::size_t layer = std::size_t{3} * 512 * 4096;  // bytes, at the least
  TestEngine engine(model, options_with(100));
  if (!packs(engine)) GTEST_SKIP() << "these kernels pack no weights";
  const auto tokens = random_tokens(kTokens, model.n_vocab, 4);
  const std::size_t all_held = resident_bytes();
  std::vector<std::size_t> resident;
  PrefillOptions options;
  options.on_layer = [&](const LayerObservation&) { resident.push_back(resident_bytes()); };
  const KvOptions full = full_cache();
  std::vector<float> logits;
  ASSERT_TRUE(engine->prefill(tokens, {&full, 1}, options, logits).ok());
  ASSERT_EQ(resident.size(), 6U);
  for (const std::size_t now : resident) EXPECT_LT(now, all_held - 4 * layer);
  EXPECT_GT(resident_bytes(), all_held - layer / 2) << "and all are there again";
}

// At every point where a cancel is looked at.
TEST(PackedWeights, ComeAgainAfterAnInterruptedPrompt) {
  TestEngine stay(packed_model(), options_with(100'000));
  TestEngine go(packed_model(), options_with(100));
  const auto tokens = random_tokens(kTokens, packed_model().n_vocab, 3);
  const std::span<const Token> all(tokens);
  auto known = stay.prefill(all.first(20), full_cache());
  auto mine = go.prefill(all.first(20), full_cache());
  const std::vector<float> wanted = stay.decode(known.sequence, all.subspan(20, 1));
  for (int point = 0; point < 12; ++point) {
    std::atomic<bool> cancel = false;
    int calls = 0;
    PrefillOptions options;
    options.cancel = &cancel;
    options.on_progress = [&](const PrefillProgress&) { cancel = ++calls > point; };
    const KvOptions full = full_cache();
    std::vector<float> logits;
    const auto run = go->prefill(all, {&full, 1}, options, logits);
    Sequence next = mine.sequence.fork();
    EXPECT_EQ(go.decode(next, all.subspan(20, 1)), wanted) << point << " " << run.ok();
    EXPECT_EQ(go.prefill(all.first(20), full_cache()).last_logits, mine.last_logits) << point;
  }
}

}  // namespace
}  // namespace restkv
