// A prompt of which the last tokens are decoded: what is said of it then.

#include <gtest/gtest.h>

#include <utility>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kRead = 120;
constexpr std::size_t kTail = 10;
constexpr std::size_t kAnswer = 5;
constexpr std::size_t kBudget = 40;

KvOptions options_of(std::string_view policy, std::string_view schedule) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = kBudget;
  options.window = 8;
  options.schedule = Schedule::parse(schedule).value();
  return options;
}

class PromptEnd : public testing::Test {
 protected:
  PromptEnd() : model_(random_qwen2()), engine_(model_) {}

  Sequence read(const KvOptions& options) {
    auto run = engine_.prefill(std::span(tokens_).first(kRead), options);
    engine_.decode(run.sequence, std::span(tokens_).subspan(kRead, kTail));
    return std::move(run.sequence);
  }
  [[nodiscard]] std::span<const Token> answer() const {
    return std::span(tokens_).subspan(kRead + kTail);
  }

  RandomModel model_;
  TestEngine engine_;
  std::vector<Token> tokens_ = random_tokens(kRead + kTail + kAnswer, model_.n_vocab, 1);
};

TEST_F(PromptEnd, TheReportIsOfTheWholePrompt) {
  const auto whole =
      engine_.prefill(std::span(tokens_).first(kRead + kTail), full_cache(KvType::kF16));
  const KvReport full = whole.sequence.report();
  Sequence kept = read(options_of("snapkv", "once"));
  const std::size_t peak = kept.report().bytes_peak;
  engine_->end_prompt_here(kept);
  const KvReport report = kept.report();
  EXPECT_EQ(report.prompt_tokens, kRead + kTail);
  EXPECT_EQ(report.kept_tokens_mean, kBudget + kTail);
  EXPECT_EQ(report.dropped_tokens_mean, kRead - kBudget);
  EXPECT_EQ(report.budget_rows, kBudget);
  EXPECT_EQ(report.bytes, kept.bytes());
  EXPECT_EQ(report.bytes_full, full.bytes_full);
  EXPECT_EQ(report.bytes_peak, peak);
  EXPECT_FALSE(report.untouched);

  Sequence capped = read(options_of("snapkv", "cap"));
  engine_->end_prompt_here(capped);
  EXPECT_EQ(capped.report().kept_tokens_mean, kBudget);

  Sequence all = read(options_of("full", "once"));
  engine_->end_prompt_here(all);
  EXPECT_TRUE(all.report().untouched);
  EXPECT_EQ(all.report().kept_tokens_mean, kRead + kTail);
  EXPECT_EQ(all.report().bytes, full.bytes);
}

TEST_F(PromptEnd, StepsCountFromThereAndNoRowChanges) {
  Sequence ended = read(options_of("snapkv", "once"));
  Sequence other = ended.fork();
  EXPECT_EQ(ended.report().decode.steps, kTail);
  engine_->end_prompt_here(ended);
  EXPECT_EQ(ended.report().decode.steps, 0U);
  EXPECT_EQ(ended.report().decode.rows_read_mean, 0);
  EXPECT_EQ(engine_.decode(ended, answer()), engine_.decode(other, answer()));
  EXPECT_EQ(ended.kept_positions(), other.kept_positions());
  const DecodeReport steps = ended.report().decode;
  EXPECT_EQ(steps.steps, kAnswer);
  // Each step sees its own token as well: 51 rows, then 52, ... 55.
  EXPECT_EQ(steps.rows_held_mean, kBudget + kTail + (kAnswer + 1) / 2.0);
  EXPECT_EQ(steps.rows_read_mean, steps.rows_held_mean);
}

}  // namespace
}  // namespace restkv
