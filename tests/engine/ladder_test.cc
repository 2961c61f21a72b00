// LaCache while generating: the ladder goes on from cut to cut, as in traces of the published code,
// by the engine's own path: decode in company, forks, turns.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/harness.h"
#include "support/golden.h"
#include "support/ladder_trace.h"

namespace restkv {
namespace {

// The traces of one run, by the number of tokens.
using Traces = std::map<std::size_t, std::string>;

// A budget stands for the published size after its growth. The first rows are held by the ladder.
KvOptions options_of(const LadderTrace& trace) {
  KvOptions options;
  options.policy = "lacache";
  options.policy_options = {{"span", std::to_string(trace.span)},
                            {"overlap", std::to_string(trace.overlap)},
                            {"start", std::to_string(trace.start)}};
  options.budget.amount = static_cast<double>(trace.grown());
  options.protect = Protect::kPaper;
  options.schedule = Schedule::parse("cap").value();
  return options;
}

RandomModel model_of(int layers) {
  RandomModel model{.n_layer = layers, .n_embd = 32, .n_ff = 32, .branch = 0.1F};
  model.n_head = 1;
  model.n_kv_head = 1;
  model.head_dim = 32;
  return model;
}

class LadderTraces : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
    for (const auto& [name, output] : golden_case("lacache").methods.at(0).outputs) {
      const LadderTrace trace = parse_ladder_trace(name);
      if (trace.layers != static_cast<std::size_t>(GetParam())) continue;
      (trace.one_shot > 0 ? turns_ : by_token_)[trace.run][trace.tokens] = name;
    }
  }

  static KeptPositions wanted(const std::string& name) {
    static const SafetensorsFile kFile = open_golden(golden_case("lacache"));
    KeptPositions kept;
    for (const std::vector<std::uint32_t>& rows : ladder_rows(kFile.tensor(name))) {
      kept.push_back({{rows.begin(), rows.end()}});
    }
    return kept;
  }
  // Where groups are stretched, the published code keeps rows out of order or twice, or drops more
  // than whole groups of the plain size.
  static bool stretched(const Traces& traces) {
    return std::ranges::any_of(traces, [](const auto& trace) {
      const LadderTrace numbers = parse_ladder_trace(trace.second);
      return std::ranges::any_of(wanted(trace.second), [&](const auto& heads) {
        return std::ranges::adjacent_find(heads[0], std::greater_equal<>()) != heads[0].end() ||
               heads[0].size() + numbers.gain() <= numbers.grown();
      });
    });
  }

  std::map<std::string, Traces> by_token_, turns_;
};

// All runs of a model in one batch. Now and then a fork goes on, and the sequence that it came from
// goes elsewhere.
TEST_P(LadderTraces, AreWhatACapHoldsAfterEveryToken) {
  TestEngine engine(model_of(GetParam()));
  std::vector<KvOptions> variants;
  std::size_t last = 0;
  for (const auto& [name, run] : by_token_) {
    variants.push_back(options_of(parse_ladder_trace(run.begin()->second)));
    last = std::max(last, run.rbegin()->first);
  }
  const auto tokens = random_tokens(last, 100, 1);
  std::vector<float> logits;
  auto made = engine->prefill(std::span(tokens).first(1), variants, {}, logits);
  ASSERT_TRUE(made.ok()) << made.error().message;
  std::vector<Sequence>& sequences = *made;
  std::vector<float> rows(sequences.size() * logits.size());
  std::size_t compared = 0;
  for (std::size_t seen = 2; seen <= last; ++seen) {
    std::vector<Sequence*> batch;
    for (Sequence& sequence : sequences) {
      if (seen % 37 == 0) {
        Sequence fork = sequence.fork();
        (void)engine.decode(sequence, std::span(tokens).first(2));
        sequence = std::move(fork);
      }
      batch.push_back(&sequence);
    }
    const std::vector<Token> same(batch.size(), tokens[seen - 1]);
    ASSERT_TRUE(engine->decode(batch, same, {rows.data(), batch.size(), logits.size()}).ok());
    std::size_t i = 0;
    for (const auto& [name, run] : by_token_) {
      const Sequence& sequence = sequences[i++];
      if (!run.contains(seen)) continue;
      ASSERT_EQ(sequence.kept_positions(), wanted(run.at(seen))) << run.at(seen);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 16U);
}

// A turn is one cut, whatever its length, and the steps after it go on from there.
TEST_P(LadderTraces, AreWhatATurnAndTheStepsAfterItHold) {
  TestEngine engine(model_of(GetParam()));
  std::size_t compared = 0;
  for (const auto& [name, run] : turns_) {
    if (stretched(run)) continue;
    const LadderTrace first = parse_ladder_trace(run.begin()->second);
    ASSERT_EQ(first.tokens, first.one_shot);
    const auto tokens = random_tokens(run.rbegin()->first, 100, 2);
    const std::span<const Token> text(tokens);
    auto held = engine.prefill(text.first(1), options_of(first));
    (void)engine.extend(held.sequence, text.subspan(1, first.one_shot - 1));
    std::size_t seen = first.one_shot;
    for (const auto& [count, trace] : run) {
      (void)engine.decode(held.sequence, text.subspan(seen, count - seen));
      seen = count;
      ASSERT_EQ(held.sequence.kept_positions(), wanted(trace)) << trace;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 4U);
}

INSTANTIATE_TEST_SUITE_P(Layers, LadderTraces, testing::Values(24, 32),
                         testing::PrintToStringParamName());

// 24 layers, 256 rows: under a cap the text is thinned all over. A ladder that began anew at every
// step would hold its newest tokens alone.
TEST(Ladder, ReachesFarBackUnderACap) {
  TestEngine engine(model_of(24));
  KvOptions options;
  options.policy = "lacache";
  options.budget.amount = 256;
  options.protect = Protect::kPaper;
  const auto tokens = random_tokens(1500, 100, 3);
  for (const char* schedule : {"cap", "every:16"}) {
    options.schedule = Schedule::parse(schedule).value();
    auto run = engine.prefill(std::span(tokens).first(240), options);
    (void)engine.decode(run.sequence, std::span(tokens).subspan(240));
    for (const auto& heads : run.sequence.kept_positions()) {
      const std::vector<Position>& held = heads[0];
      // Of the older half of the text more than a few, which a window of 256 has none of.
      EXPECT_GE(std::ranges::lower_bound(held, 750) - held.begin(), 12) << schedule;
      EXPECT_TRUE(std::ranges::equal(std::span(held).first(4), std::vector<Position>{0, 1, 2, 3}));
      EXPECT_EQ(held.back(), 1499);
    }
  }
}

}  // namespace
}  // namespace restkv
