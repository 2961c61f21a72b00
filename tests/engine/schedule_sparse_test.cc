// Rows that go while generating, where a step reads a part of what is held. The reference: a fork
// that has forgotten its summaries and makes them anew from the rows that are left.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bare_engine.h"
#include "engine/decode.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kPrompt = 260;
constexpr std::size_t kSteps = 24;

KvOptions options_of(std::string_view policy, std::string_view schedule, std::string_view method) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = 200;
  options.window = 8;
  options.schedule = Schedule::parse(schedule).value();
  options.decode.method = method;
  options.decode.method_options = {{"dense-layers", "0"}, {"block", "16"}};
  options.decode.budget = Budget{.unit = Budget::Unit::kTokens, .amount = 48};
  return options;
}

std::vector<std::string_view> selecting_methods() {
  std::vector<std::string_view> names;
  for (const DecodeMethodInfo* method : all_decode_methods()) {
    if (method->plan != nullptr) names.push_back(method->name);
  }
  return names;
}

std::vector<float> decode(BareEngine& engine, Sequence::State& sequence, Token token) {
  std::vector<float> logits(static_cast<std::size_t>(engine.config().n_vocab));
  Sequence::State* const one = &sequence;
  const auto done =
      run_decode(engine.state(), {&one, 1}, {&token, 1}, {logits.data(), 1, logits.size()});
  EXPECT_TRUE(done.ok());
  return logits;
}

TEST(ScheduleWithSparseDecode, ReadsTheRowsThatAreLeft) {
  BareEngine engine(small_models().front());
  const auto tokens = random_tokens(kSteps, engine.config().n_vocab, 1);
  std::size_t followed = 0;
  for (const PolicyInfo* policy : all_policies()) {
    for (const std::string_view method : selecting_methods()) {
      for (const char* schedule : {"every:5", "cap"}) {
        const KvOptions options = options_of(policy->name, schedule, method);
        if (policy->keeps_all || !check_kv_options(options).ok()) continue;
        SCOPED_TRACE(options.policy + " " + schedule + " " + options.decode.method);
        ++followed;
        Sequence::State sequence = engine.sequence(Variant::make(options).value(), kPrompt);
        for (const Token token : tokens) {
          Sequence::State anew = BareEngine::fork(sequence);
          ASSERT_EQ(decode(engine, sequence, token), decode(engine, anew, token));
          for (int layer = 0; layer < engine.config().n_layer; ++layer) {
            ASSERT_EQ(sequence.cache.positions(layer, 0), anew.cache.positions(layer, 0));
          }
        }
        EXPECT_EQ(sequence.generated.compressions, schedule[0] == 'c' ? kSteps : kSteps / 5);
        EXPECT_LT(sequence.decode_reads.rows_read, sequence.decode_reads.rows_held / 2);
      }
    }
  }
  EXPECT_GT(followed, 30U);
}

// What cannot work is refused before a model is there, and everything else is not.
TEST(ScheduleWithSparseDecode, WhatNeedsEveryRowsAttentionIsRefused) {
  const std::vector<std::string_view> watchers = {"h2o", "observed-attention", "tova"};
  for (const PolicyInfo* policy : all_policies()) {
    for (const std::string_view method : selecting_methods()) {
      for (const char* schedule : {"once", "every:5", "cap", "chunk:64"}) {
        const bool acts = schedule[0] == 'e' || std::string_view(schedule) == "cap";
        const bool watches = std::ranges::find(watchers, policy->name) != watchers.end();
        const bool counts = policy->name == "expected-attention" || policy->name == "kvzip";
        const auto checked = check_kv_options(options_of(policy->name, schedule, method));
        EXPECT_EQ(checked.ok(), !(acts && (watches || counts)))
            << policy->name << " " << schedule << " " << method;
        if (checked.ok()) continue;
        EXPECT_NE(checked.error().message.find("schedule " + std::string(schedule)),
                  std::string::npos);
        EXPECT_NE(checked.error().message.find(policy->name), std::string::npos);
        if (watches) {
          EXPECT_NE(checked.error().message.find(method), std::string::npos);
        }
      }
    }
  }
  // A policy that works on another's scores needs what that one needs.
  KvOptions within = options_of("chunkkv", "cap", "quest");
  EXPECT_TRUE(check_kv_options(within).ok());
  within.policy_options = {{"score", "h2o"}};
  EXPECT_FALSE(check_kv_options(within).ok());
  within.policy_options = {{"score", "expected-attention"}};
  EXPECT_FALSE(check_kv_options(within).ok());
  // Scores of TOVA within others come from the rows themselves, not from the step's attention.
  within.policy_options = {{"score", "tova"}};
  EXPECT_TRUE(check_kv_options(within).ok());
}

}  // namespace
}  // namespace restkv
