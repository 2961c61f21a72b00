// Rows that go while generating, and prompts read in pieces. The slow references: a turn of one
// token (or of as many as lie between two compressions) under the schedule `once`, which reads
// keys, scores and stores by the ways of a prefill; and one prefill of the whole text.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>

#include "engine/harness.h"
#include "engine/variant.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr int kWindow = 8;
constexpr int kSinks = 4;
// Of logits with f32 caches; decode and prefill sum in another order.
constexpr double kF32Limit = 1e-10;

KvOptions options_of(std::string_view policy, double budget, std::string_view schedule,
                     KvType type = KvType::kF16) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = budget;
  options.window = kWindow;
  options.sinks = kSinks;
  options.type_k = type;
  options.type_v = type;
  options.schedule = Schedule::parse(schedule).value();
  return options;
}

void set_allocator(KvOptions& options, std::string_view text) {
  const NamedParams named = parse_named_params(text).value();
  options.allocator = named.name;
  options.allocator_options = named.assignments;
}

std::vector<std::string_view> evicting_policies() {
  std::vector<std::string_view> names;
  for (const PolicyInfo* policy : all_policies()) {
    if (!policy->keeps_all) names.push_back(policy->name);
  }
  return names;
}

// Those that can score between two steps of decode.
std::vector<std::string_view> stepping_policies() {
  std::vector<std::string_view> names = evicting_policies();
  std::erase(names, "expected-attention");
  std::erase(names, "kvzip");
  return names;
}

bool looks_back(const KvOptions& options) {
  const auto variant = Variant::make(options).value();
  return has(variant->needs(), Needs::kWindowQueries) && !variant->newest_query_only();
}

std::size_t rows_of_layer(const std::vector<std::vector<Position>>& heads) {
  std::size_t rows = 0;
  for (const auto& head : heads) rows += head.size();
  return rows;
}

// A layer gets what it would get of a prompt that was read at once.
TEST(Schedules, APyramidKeepsItsShapeFromTurnToTurn) {
  RandomModel model = random_llama();
  model.n_layer = 4;
  TestEngine engine(model);
  const auto text = random_tokens(320, model.n_vocab, 3);
  const std::span<const Token> all(text);
  const auto options = [](const char* schedule) {
    KvOptions made = options_of("knorm", 64, schedule);
    made.allocator = "pyramid";
    made.window = 8;
    return made;
  };
  const auto rows = [](const Sequence& sequence) {
    std::vector<std::size_t> counts;
    for (const auto& layer : sequence.kept_positions()) counts.push_back(rows_of_layer(layer));
    return counts;
  };
  const std::vector<std::size_t> expected = rows(engine.prefill(all, options("once")).sequence);
  EXPECT_GT(expected.front(), 2 * expected.back());
  auto turns = engine.prefill(all.first(280), options("once"));
  engine.extend(turns.sequence, all.subspan(280, 30));
  engine.extend(turns.sequence, all.subspan(310));
  EXPECT_EQ(rows(turns.sequence), expected);
  EXPECT_EQ(rows(engine.prefill(all, options("chunk:100")).sequence), expected);
}

TEST(Schedules, PiecesAreReportedTogether) {
  TestEngine engine(random_llama());
  const auto text = random_tokens(1640, 100, 3);
  const auto run = engine.prefill(text, options_of("streaming-llm", 48, "chunk:40"));
  double least = std::numeric_limits<double>::max();
  auto turns = engine.prefill(std::span(text).first(40), options_of("streaming-llm", 48, "once"));
  for (std::size_t first = 40; first < text.size(); first += 40) {
    engine.extend(turns.sequence, std::span(text).subspan(first, 40));
    least = std::min(least, turns.sequence.report().prefill.attention_ms);
  }
  // There are 41 of them.
  EXPECT_GT(run.sequence.report().prefill.attention_ms, 20 * least);
}

TEST(Schedule, IsReadAsItIsWritten) {
  for (const char* text : {"once", "cap", "every:1", "every:512", "chunk:2048"}) {
    const auto schedule = Schedule::parse(text);
    ASSERT_TRUE(schedule.ok()) << text;
    EXPECT_EQ(schedule->text(), text);
  }
  for (const char* text : {"", "Once", "every", "every:", "every:0", "every:-1", "every:2x",
                           "cap:3", "chunk:1.5", "chunk:99999999999999999999", "once:1", ":4"}) {
    const auto schedule = Schedule::parse(text);
    ASSERT_FALSE(schedule.ok()) << text;
    EXPECT_EQ(schedule.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(schedule.error().message.find("once, every:TOKENS, cap, chunk:TOKENS"),
              std::string::npos);
  }
  EXPECT_FALSE(check_kv_options(options_of("knorm", 20, "chunk:7")).ok());
  EXPECT_TRUE(check_kv_options(options_of("knorm", 20, "chunk:8")).ok());
}

class Schedules : public testing::TestWithParam<RandomModel> {
 protected:
  [[nodiscard]] std::vector<Token> tokens(std::size_t n, std::uint32_t seed) const {
    return random_tokens(n, GetParam().n_vocab, seed);
  }
  // Rows that every protected position of a head without a sliding window stands for.
  static void expect_protected(const std::vector<Position>& held, Position end) {
    EXPECT_EQ(std::ranges::adjacent_find(held, std::greater_equal<>()), held.end());
    for (Position p = end - kWindow; p < end; ++p) {
      EXPECT_TRUE(std::ranges::binary_search(held, p)) << p;
    }
    for (Position p = 0; p < kSinks; ++p) EXPECT_TRUE(std::ranges::binary_search(held, p)) << p;
  }
  void expect_cap_holds(TestEngine& engine, const KvOptions& options, std::size_t n_prompt);
};

void Schedules::expect_cap_holds(TestEngine& engine, const KvOptions& options,
                                 std::size_t n_prompt) {
  SCOPED_TRACE(options.policy + " " + options.allocator + " " + std::to_string(n_prompt));
  const auto cap = static_cast<std::size_t>(options.budget.amount);
  const auto n_heads = static_cast<std::size_t>(engine->model().n_kv_head);
  auto run = engine.prefill(tokens(n_prompt, 1), options);
  // The pyramid is what its allocator makes of the budget; it must not grow.
  const std::size_t limit = options.allocator == "pyramid"
                                ? run.sequence.rows()
                                : cap * n_heads * run.sequence.kept_positions().size();
  std::size_t seen = n_prompt;
  for (const Token token : tokens(24, 2)) {
    (void)engine.decode(run.sequence, {&token, 1});
    ++seen;
    const KeptPositions kept = run.sequence.kept_positions();
    std::size_t all_rows = 0;
    for (std::size_t layer = 0; layer < kept.size(); ++layer) {
      const int sliding = engine->model().sliding_windows[layer];
      all_rows += rows_of_layer(kept[layer]);
      if (options.allocator == "ada") {
        EXPECT_LE(rows_of_layer(kept[layer]), cap * n_heads);
      }
      for (const std::vector<Position>& held : kept[layer]) {
        if (sliding == 0) expect_protected(held, static_cast<Position>(seen));
        if (options.allocator != "uniform") continue;
        EXPECT_LE(held.size(), cap);
        if (sliding == 0) {
          // LaCache drops whole groups; in a model of three layers one loses two rows.
          const std::size_t spare = options.policy == "lacache" ? 1 : 0;
          EXPECT_GE(held.size() + spare, std::min(seen, cap));
        }
      }
    }
    EXPECT_LE(all_rows, limit) << "after " << seen;
  }
  EXPECT_EQ(engine->cache_bytes(), run.sequence.bytes());
  const KvReport report = run.sequence.report();
  EXPECT_EQ(report.schedule, "cap");
  EXPECT_GT(report.compressions, 0U);
  EXPECT_GT(report.generated_dropped, 0);
  EXPECT_EQ(report.query_bytes > 0, looks_back(options));
}

TEST_P(Schedules, ACapHoldsAtEveryStep) {
  TestEngine engine(GetParam());
  for (const std::string_view policy : stepping_policies()) {
    for (const AllocatorInfo* allocator : all_allocators()) {
      KvOptions options = options_of(policy, 20, "cap");
      options.allocator = allocator->name;
      expect_cap_holds(engine, options, 70);
      if (options.allocator != "pyramid") expect_cap_holds(engine, options, 9);
    }
  }
}

// TOVA, H2O and StreamingLLM as published, and everything else that does not look back at queries.
TEST_P(Schedules, ACapIsATurnOfOneTokenEachTime) {
  TestEngine engine(GetParam());
  const auto prompt = tokens(50, 3);
  const auto next = tokens(30, 4);
  for (const std::string_view policy : stepping_policies()) {
    if (looks_back(options_of(policy, 17, "cap"))) continue;
    for (const Protect protect : {Protect::kDefault, Protect::kPaper}) {
      for (const char* allocator : {"uniform", "ada", "ada:form=ffy0:normalize=on", "global",
                                    "global:global-norm=output"}) {
        SCOPED_TRACE(std::string(policy) + " " + allocator);
        KvOptions options = options_of(policy, 17, "cap", KvType::kF32);
        options.protect = protect;
        set_allocator(options, allocator);
        auto run = engine.prefill(prompt, options);
        options.schedule = {};
        auto slow = engine.prefill(prompt, options);
        for (std::size_t i = 0; i < next.size(); ++i) {
          const auto logits = engine.decode(run.sequence, std::span(next).subspan(i, 1));
          const auto wanted = engine.extend(slow.sequence, std::span(next).subspan(i, 1));
          ASSERT_LE(mean_square_error(logits, wanted), kF32Limit) << i;
          ASSERT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions()) << i;
        }
      }
    }
  }
}

TEST_P(Schedules, EverySTokensIsATurnOfSTokens) {
  TestEngine engine(GetParam());
  constexpr std::size_t kInterval = 10;  // at least the window: a turn then shows as many queries
  const auto prompt = tokens(50, 5);
  const auto next = tokens(3 * kInterval, 6);
  for (const std::string_view policy : stepping_policies()) {
    for (const char* allocator :
         {"uniform", "ada", "ada:form=ffy0:normalize=on", "global", "global:global-norm=output"}) {
      SCOPED_TRACE(std::string(policy) + " " + allocator);
      KvOptions options = options_of(policy, 20, "every:10", KvType::kF32);
      set_allocator(options, allocator);
      auto run = engine.prefill(prompt, options);
      options.schedule = {};
      auto slow = engine.prefill(prompt, options);
      for (std::size_t first = 0; first < next.size(); first += kInterval) {
        const auto turn = std::span(next).subspan(first, kInterval);
        (void)engine.decode(run.sequence, turn.first(kInterval - 1));
        EXPECT_GE(run.sequence.rows(), slow.sequence.rows()) << "nothing goes in between";
        const auto logits = engine.decode(run.sequence, turn.last(1));
        const auto wanted = engine.extend(slow.sequence, turn);
        ASSERT_LE(mean_square_error(logits, wanted), kF32Limit) << first;
        ASSERT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions()) << first;
      }
      EXPECT_EQ(run.sequence.report().compressions, 3U);
    }
  }
}

// The window reaches back over turns and into the prompt.
TEST_P(Schedules, EverySTokensSeesTheNewestQueriesWhereverTheyCameFrom) {
  TestEngine engine(GetParam());
  const auto text = tokens(42, 7);
  for (const std::string_view policy : stepping_policies()) {
    SCOPED_TRACE(policy);
    KvOptions options = options_of(policy, 40, "every:3", KvType::kF32);
    // Everything fits until the last step, so one prefill of the same text is the reference.
    auto run = engine.prefill(std::span(text).first(31), options);
    (void)engine.decode(run.sequence, std::span(text).subspan(31, 2));
    (void)engine.extend(run.sequence, std::span(text).subspan(33, 3));
    (void)engine.decode(run.sequence, std::span(text).subspan(36, 5));
    EXPECT_EQ(run.sequence.report().compressions, 0U);
    (void)engine.decode(run.sequence, std::span(text).subspan(41, 1));
    EXPECT_EQ(run.sequence.report().compressions, 1U);
    options.schedule = {};
    auto slow = engine.prefill(text, options);
    EXPECT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions());
  }
}

TEST_P(Schedules, WhatFitsIsNeverTouched) {
  TestEngine engine(GetParam());
  const auto prompt = tokens(40, 8);
  const auto next = tokens(20, 9);
  auto full = engine.prefill(prompt, full_cache(KvType::kF16));
  const auto expected = engine.decode(full.sequence, next);
  for (const std::string_view policy : stepping_policies()) {
    for (const char* schedule : {"cap", "every:7", "chunk:200"}) {
      auto run = engine.prefill(prompt, options_of(policy, 60, schedule));
      EXPECT_EQ(engine.decode(run.sequence, next), expected) << policy << " " << schedule;
      EXPECT_EQ(run.sequence.report().compressions, 0U);
    }
    // And an interval that is never over changes nothing of `once`.
    auto once = engine.prefill(prompt, options_of(policy, 20, "once"));
    auto late = engine.prefill(prompt, options_of(policy, 20, "every:21"));
    EXPECT_EQ(engine.decode(once.sequence, next), engine.decode(late.sequence, next)) << policy;
  }
}

TEST_P(Schedules, APercentageIsOfAllTokensSeen) {
  TestEngine engine(GetParam());
  KvOptions options = options_of("knorm", 0, "cap");
  options.budget = {.unit = Budget::Unit::kPercent, .amount = 50};
  auto run = engine.prefill(tokens(60, 10), options);
  std::size_t seen = 60;
  for (const Token token : tokens(20, 11)) {
    (void)engine.decode(run.sequence, {&token, 1});
    ++seen;
    const KeptPositions kept = run.sequence.kept_positions();
    for (std::size_t layer = 0; layer < kept.size(); ++layer) {
      if (engine->model().sliding_windows[layer] > 0) continue;
      for (const auto& held : kept[layer]) EXPECT_EQ(held.size(), seen / 2);
    }
  }
}

TEST_P(Schedules, CompanyChangesNothing) {
  TestEngine engine(GetParam());
  const auto next = tokens(25, 12);
  std::vector<KvOptions> variants;
  for (const std::string_view policy : stepping_policies()) {
    for (const char* schedule : {"once", "cap", "every:6"}) {
      variants.push_back(options_of(policy, 18, schedule, KvType::kQ8_0));
    }
  }
  std::vector<float> logits;
  auto together = engine->prefill(tokens(45, 13), variants, {}, logits);
  ASSERT_TRUE(together.ok()) << together.error().message;
  std::vector<Sequence> alone;
  for (const Sequence& sequence : *together) alone.push_back(sequence.fork());
  std::vector<Sequence*> batch;
  for (Sequence& sequence : *together) batch.push_back(&sequence);
  const auto n_vocab = logits.size();
  std::vector<float> rows(batch.size() * n_vocab);
  for (const Token token : next) {
    const std::vector<Token> same(batch.size(), token);
    ASSERT_TRUE(engine->decode(batch, same, {rows.data(), batch.size(), n_vocab}).ok());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto own = engine.decode(alone[i], {&token, 1});
      const auto row = std::span(rows).subspan(i * n_vocab, n_vocab);
      ASSERT_TRUE(std::ranges::equal(own, row)) << variants[i].policy;
    }
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(batch[i]->kept_positions(), alone[i].kept_positions());
    EXPECT_EQ(batch[i]->bytes(), alone[i].bytes());
  }
}

TEST_P(Schedules, AForkBetweenTwoStepsChangesNothing) {
  TestEngine engine(GetParam());
  const auto prompt = tokens(45, 14);
  const auto next = tokens(20, 15);
  const auto other = tokens(20, 16);
  for (const std::string_view policy : stepping_policies()) {
    for (const char* schedule : {"cap", "every:6"}) {
      SCOPED_TRACE(std::string(policy) + " " + schedule);
      auto expected = engine.prefill(prompt, options_of(policy, 18, schedule));
      const auto logits = engine.decode(expected.sequence, next);
      auto run = engine.prefill(prompt, options_of(policy, 18, schedule));
      std::vector<float> seen;
      for (std::size_t i = 0; i < next.size(); ++i) {
        Sequence fork = run.sequence.fork();
        (void)engine.decode(fork, std::span(other).first(3));
        const auto row = engine.decode(run.sequence, std::span(next).subspan(i, 1));
        (void)engine.decode(fork, std::span(other).first(3));
        seen.insert(seen.end(), row.begin(), row.end());
      }
      EXPECT_EQ(seen, logits);
      EXPECT_EQ(run.sequence.kept_positions(), expected.sequence.kept_positions());
    }
  }
}

// And a fork has everything that the next step needs.
TEST_P(Schedules, AForkGoesOnAsTheSequence) {
  TestEngine engine(GetParam());
  const auto prompt = tokens(45, 17);
  const auto next = tokens(20, 18);
  for (const std::string_view policy : stepping_policies()) {
    for (const char* schedule : {"once", "cap", "every:6"}) {
      SCOPED_TRACE(std::string(policy) + " " + schedule);
      auto expected = engine.prefill(prompt, options_of(policy, 18, schedule));
      auto run = engine.prefill(prompt, options_of(policy, 18, schedule));
      for (std::size_t i = 0; i < next.size(); ++i) {
        const auto token = std::span(next).subspan(i, 1);
        Sequence fork = run.sequence.fork();
        if (i % 7 == 6) {
          ASSERT_EQ(engine.extend(fork, token), engine.extend(expected.sequence, token)) << i;
        } else {
          ASSERT_EQ(engine.decode(fork, token), engine.decode(expected.sequence, token)) << i;
        }
        ASSERT_EQ(fork.kept_positions(), expected.sequence.kept_positions()) << i;
        run.sequence = std::move(fork);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Schedules, testing::Values(random_llama(), random_gemma2()),
                         family_name);

TEST(Pieces, AreTurnsOneAfterAnother) {
  const RandomModel model = random_gemma2();
  TestEngine engine(model);
  const auto text = random_tokens(95, model.n_vocab, 1);
  for (const std::string_view policy : evicting_policies()) {
    SCOPED_TRACE(policy);
    // 30, 30 and 35: the last 5 are fewer than the window.
    auto run = engine.prefill(text, options_of(policy, 20, "chunk:30"));
    auto slow = engine.prefill(std::span(text).first(30), options_of(policy, 20, "once"));
    (void)engine.extend(slow.sequence, std::span(text).subspan(30, 30));
    const auto logits = engine.extend(slow.sequence, std::span(text).subspan(60));
    EXPECT_EQ(run.last_logits, logits);
    EXPECT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions());
    const KvReport report = run.sequence.report();
    EXPECT_EQ(report.prompt_tokens, 95U);
    EXPECT_EQ(report.schedule, "chunk:30");
    EXPECT_EQ(report.dropped_tokens_mean, slow.sequence.report().dropped_tokens_mean);

    // A turn goes the same way.
    const auto turn = random_tokens(61, model.n_vocab, 2);
    const auto after = engine.extend(run.sequence, turn);
    (void)engine.extend(slow.sequence, std::span(turn).first(30));
    EXPECT_EQ(engine.extend(slow.sequence, std::span(turn).subspan(30)), after);
    EXPECT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions());
  }
}

TEST(Pieces, HoldAPieceInFullAndNotTheWholePrompt) {
  TestEngine engine(random_llama());
  const auto text = random_tokens(800, 100, 3);
  const auto whole = engine.prefill(text, options_of("knorm", 20, "once"));
  const auto pieces = engine.prefill(text, options_of("knorm", 20, "chunk:40"));
  const auto half = engine.prefill(std::span(text).first(400), options_of("knorm", 20, "chunk:40"));
  EXPECT_EQ(pieces.sequence.bytes(), whole.sequence.bytes());
  // What was kept before the piece and after it, and one layer of the piece with what it stands on.
  const std::size_t peak = pieces.sequence.report().bytes_peak;
  const RandomModel model = random_llama();
  const std::size_t row_bytes =
      2 * sizeof(std::uint16_t) * std::size_t(model.head_dim) + sizeof(Position);
  const std::size_t layer = std::size_t(model.n_kv_head) * (20 + 40) * row_bytes;
  EXPECT_LE(peak, 2 * pieces.sequence.bytes() + layer);
  EXPECT_EQ(peak, half.sequence.report().bytes_peak) << "whatever the prompt's length";
  EXPECT_LT(peak, whole.sequence.report().bytes_peak / 2);
}

TEST(Pieces, GiveLogitsAndProgressOfTheWholePrompt) {
  TestEngine engine(random_llama());
  const auto text = random_tokens(150, 100, 4);
  const KvOptions full = full_cache();
  KvOptions pieces = full;
  pieces.schedule = Schedule::parse("chunk:40").value();
  EXPECT_LE(mean_square_error(engine.all_logits(text, pieces), engine.all_logits(text, full)),
            kF32Limit);

  PrefillOptions options;
  options.logits_from = 70;
  std::size_t next = 70;
  options.on_logits = [&](std::size_t first, View2<const float> logits) {
    EXPECT_EQ(first, next);
    next = first + logits.rows;
  };
  std::size_t done = 0;
  options.on_progress = [&](const PrefillProgress& progress) {
    EXPECT_GE(progress.tokens_done, done);
    EXPECT_EQ(progress.tokens_total, 150U);
    done = progress.tokens_done;
  };
  std::vector<float> last;
  ASSERT_TRUE(engine->prefill(text, {&pieces, 1}, options, last).ok());
  EXPECT_EQ(next, 150U);
  EXPECT_EQ(done, 150U);
}

TEST(Pieces, AreNotShared) {
  TestEngine engine(random_llama());
  const std::vector<KvOptions> variants = {options_of("knorm", 20, "chunk:40"),
                                           options_of("tova", 20, "once")};
  std::vector<float> logits;
  const auto failed = engine->prefill(random_tokens(50, 100, 5), variants, {}, logits);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kInvalidArgument);
}

TEST(Pieces, ACancelledTurnLeavesTheSequenceAsItWas) {
  TestEngine engine(random_llama());
  const auto text = random_tokens(60, 100, 6);
  const auto turn = random_tokens(90, 100, 7);
  auto run = engine.prefill(text, options_of("h2o", 20, "chunk:30"));
  auto expected = engine.prefill(text, options_of("h2o", 20, "chunk:30"));
  std::atomic<bool> cancel = false;
  int calls = 0;
  PrefillOptions options;
  options.cancel = &cancel;
  options.on_progress = [&](const PrefillProgress&) { cancel = ++calls == 5; };
  std::vector<float> logits;
  const auto failed = engine->extend(run.sequence, turn, options, logits);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(run.sequence.kept_positions(), expected.sequence.kept_positions());
  EXPECT_EQ(engine.extend(run.sequence, turn), engine.extend(expected.sequence, turn));
}

}  // namespace
}  // namespace restkv
