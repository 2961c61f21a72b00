// Renumbered positions, against plain loops that compute every kept row's key anew, from the hidden
// state that it came from, at the place that it has among the rows: 0, 1, 2, ...

#include "engine/renumber.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/harness.h"
#include "engine/plain_model.h"
#include "engine/variant.h"

namespace restkv {
namespace {

constexpr double kLimit = 1e-8;

KvOptions options_of(std::string_view policy, double budget, std::string_view schedule,
                     KvType type = KvType::kF32) {
  KvOptions options;
  options.policy = policy;
  options.policy_options = {{"positions", "renumbered"}};
  options.budget.amount = budget;
  options.window = 8;
  options.type_k = options.type_v = type;
  options.schedule = Schedule::parse(schedule).value();
  return options;
}

// Which rows are held is the engine's choice (tested elsewhere); what attention makes of them is
// computed here.
class RenumberedReference {
 public:
  RenumberedReference(const std::string& path, std::span<const Token> prompt) : model_(path) {
    const auto n_embd = static_cast<std::size_t>(model_.config().n_embd);
    const PlainModel::Prompt read = model_.read(prompt);
    std::vector<float> before = model_.embed(prompt);
    for (const std::vector<float>& after : read.hidden) {
      auto& inputs = inputs_.emplace_back();
      for (std::size_t i = 0; i < prompt.size(); ++i) {
        inputs.emplace_back(before.begin() + static_cast<std::ptrdiff_t>(i * n_embd),
                            before.begin() + static_cast<std::ptrdiff_t>((i + 1) * n_embd));
      }
      before = after;
    }
  }

  // Tokens that come together on top of the rows held; logits after the last.
  std::vector<float> read(std::span<const Token> tokens, const KeptPositions& held) {
    const ModelConfig& config = model_.config();
    const auto n_embd = static_cast<std::size_t>(config.n_embd);
    const auto dim = static_cast<std::size_t>(config.head_dim);
    std::vector<float> hidden = model_.embed(tokens);
    for (int layer = 0; layer < config.n_layer; ++layer) {
      const auto at = static_cast<std::size_t>(layer);
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        inputs_[at].emplace_back(hidden.begin() + static_cast<std::ptrdiff_t>(i * n_embd),
                                 hidden.begin() + static_cast<std::ptrdiff_t>((i + 1) * n_embd));
      }
      const std::size_t seen = inputs_[at].size() - tokens.size();
      std::vector<float> attended(tokens.size() * config.q_size());
      // A head at a time: each may hold other rows, so each has its own places.
      for (std::size_t h = 0; h < held[at].size(); ++h) {
        std::vector<float> rows;
        for (const Position p : held[at][h]) append(rows, inputs_[at][static_cast<std::size_t>(p)]);
        for (std::size_t i = 0; i < tokens.size(); ++i) append(rows, inputs_[at][seen + i]);
        const std::size_t count = rows.size() / n_embd;
        std::vector<Position> places(count);
        for (std::size_t i = 0; i < count; ++i) places[i] = static_cast<Position>(i);
        const auto made = model_.project(layer, rows, places);
        const std::size_t old = count - tokens.size();
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          const std::vector<float> one = model_.attend(
              layer, std::span(made.q).subspan((old + i) * config.q_size(), config.q_size()),
              {.count = [&](std::size_t) { return old + i + 1; },
               .key = [&](std::size_t,
                          std::size_t r) { return made.k.data() + r * config.kv_size() + h * dim; },
               .value =
                   [&](std::size_t, std::size_t r) {
                     return made.v.data() + r * config.kv_size() + h * dim;
                   }});
          const std::size_t own = static_cast<std::size_t>(config.group()) * dim;
          std::copy_n(
              one.begin() + static_cast<std::ptrdiff_t>(h * own), own,
              attended.begin() + static_cast<std::ptrdiff_t>(i * config.q_size() + h * own));
        }
      }
      model_.finish(layer, attended, hidden);
    }
    return model_.logits(std::span(hidden).last(n_embd));
  }

 private:
  static void append(std::vector<float>& rows, const std::vector<float>& row) {
    rows.insert(rows.end(), row.begin(), row.end());
  }

  PlainModel model_;
  std::vector<std::vector<std::vector<float>>> inputs_;  // [layer][position]: what it came from
};

class Renumber : public testing::TestWithParam<RandomModel> {};

TEST_P(Renumber, IsThatOfKeysMadeAnewAtEveryStep) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(140, GetParam().n_vocab, 1);
  for (const char* policy : {"streaming-llm", "lacache"}) {
    for (const char* schedule : {"once", "cap", "every:7"}) {
      SCOPED_TRACE(std::string(policy) + " " + schedule);
      auto run = engine.prefill(std::span(tokens).first(70), options_of(policy, 24, schedule));
      RenumberedReference plain(engine.path(), std::span(tokens).first(70));
      for (std::size_t i = 70; i < 110; ++i) {
        const auto token = std::span(tokens).subspan(i, 1);
        const KeptPositions held = run.sequence.kept_positions();
        ASSERT_LT(mean_square_error(engine.decode(run.sequence, token), plain.read(token, held)),
                  kLimit)
            << i;
      }
      // A turn, and steps after it.
      const auto turn = std::span(tokens).subspan(110, 20);
      KeptPositions held = run.sequence.kept_positions();
      ASSERT_LT(mean_square_error(engine.extend(run.sequence, turn), plain.read(turn, held)),
                kLimit);
      for (std::size_t i = 130; i < 140; ++i) {
        const auto token = std::span(tokens).subspan(i, 1);
        held = run.sequence.kept_positions();
        ASSERT_LT(mean_square_error(engine.decode(run.sequence, token), plain.read(token, held)),
                  kLimit)
            << i;
      }
    }
  }
}

// Heads that hold different numbers of rows each have their own places.
TEST_P(Renumber, GoesWithEveryAllocator) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(90, GetParam().n_vocab, 2);
  for (const char* allocator : {"pyramid", "ada", "global"}) {
    KvOptions options = options_of("lacache", 24, "cap");
    options.allocator = allocator;
    auto run = engine.prefill(std::span(tokens).first(70), options);
    RenumberedReference plain(engine.path(), std::span(tokens).first(70));
    for (std::size_t i = 70; i < 90; ++i) {
      const auto token = std::span(tokens).subspan(i, 1);
      const KeptPositions held = run.sequence.kept_positions();
      ASSERT_LT(mean_square_error(engine.decode(run.sequence, token), plain.read(token, held)),
                kLimit)
          << allocator << " " << i;
    }
  }
}

// A prompt in pieces: each piece is a turn on what is left.
TEST_P(Renumber, ReadsALongPromptInPieces) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(121, GetParam().n_vocab, 3);
  auto run =
      engine.prefill(std::span(tokens).first(120), options_of("streaming-llm", 24, "chunk:40"));
  RenumberedReference plain(engine.path(), std::span(tokens).first(40));
  auto slow = engine.prefill(std::span(tokens).first(40), options_of("streaming-llm", 24, "once"));
  for (const std::size_t first : {40U, 80U}) {
    const auto piece = std::span(tokens).subspan(first, 40);
    const KeptPositions held = slow.sequence.kept_positions();
    const auto logits = engine.extend(slow.sequence, piece);
    ASSERT_LT(mean_square_error(logits, plain.read(piece, held)), kLimit);
    if (first == 80) {
      EXPECT_EQ(run.last_logits, logits);
    }
  }
  EXPECT_EQ(run.sequence.kept_positions(), slow.sequence.kept_positions());
  const auto token = std::span(tokens).last(1);
  const KeptPositions held = run.sequence.kept_positions();
  EXPECT_LT(mean_square_error(engine.decode(run.sequence, token), plain.read(token, held)), kLimit);
}

TEST_P(Renumber, ChangesNothingWhereNothingWent) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(60, GetParam().n_vocab, 4);
  for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
    auto full = engine.prefill(std::span(tokens).first(30), full_cache(type));
    auto run =
        engine.prefill(std::span(tokens).first(30), options_of("streaming-llm", 80, "cap", type));
    EXPECT_EQ(engine.decode(run.sequence, std::span(tokens).subspan(30, 10)),
              engine.decode(full.sequence, std::span(tokens).subspan(30, 10)));
    EXPECT_EQ(engine.extend(run.sequence, std::span(tokens).subspan(40)),
              engine.extend(full.sequence, std::span(tokens).subspan(40)));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Renumber,
                         testing::Values(random_llama(), random_qwen2(), random_qwen3()),
                         family_name);

// Far past the length that the model was made for, one token at a time. In f16 every step reads
// keys that were rounded once when they came and once when they were turned, however often rows
// went: the error at the end is that of the beginning.
TEST(RenumberLongRun, GoesPastTheTrainedLength) {
  RandomModel shape{.n_layer = 2, .n_embd = 32, .n_ff = 32};
  shape.head_dim = 32;
  TestEngine engine(shape);
  const auto trained = static_cast<std::size_t>(engine->model().n_ctx_train);
  const auto tokens = random_tokens(trained + 600, shape.n_vocab, 5);
  for (const KvType type : {KvType::kF32, KvType::kF16}) {
    auto run =
        engine.prefill(std::span(tokens).first(20), options_of("streaming-llm", 32, "cap", type));
    RenumberedReference plain(engine.path(), std::span(tokens).first(20));
    double early = 0;
    double late = 0;
    for (std::size_t i = 20; i < tokens.size(); ++i) {
      const auto token = std::span(tokens).subspan(i, 1);
      const KeptPositions held = run.sequence.kept_positions();
      const double error =
          mean_square_error(engine.decode(run.sequence, token), plain.read(token, held));
      ASSERT_LT(error, type == KvType::kF32 ? 1e-7 : 1e-4) << i;
      if (i >= 100 && i < 600) early += error;
      if (i >= tokens.size() - 500) late += error;
    }
    EXPECT_LT(late, 2 * early);
    EXPECT_EQ(run.sequence.next_position(), static_cast<Position>(tokens.size()));
  }
}

TEST(RenumberShifts, ByHand) {
  const std::vector<Position> held = {0, 1, 5, 6, 9};
  EXPECT_EQ(shifts_of(held, 9), (std::vector<Position>{5, 5, 2, 2, 0}));
  EXPECT_EQ(shifts_of(held, 12), (std::vector<Position>{8, 8, 5, 5, 3}));
}

TEST(RenumberOptions, AreRefusedWhereTheyCannotWork) {
  KvOptions options = options_of("streaming-llm", 24, "cap");
  options.decode.method = "quest";
  const auto checked = check_kv_options(options);
  ASSERT_FALSE(checked.ok());
  EXPECT_NE(checked.error().message.find("renumbered does not go with quest"), std::string::npos);

  TestEngine sliding(random_gemma2());
  const KvOptions plain = options_of("lacache", 24, "once");
  std::vector<float> logits;
  const auto made =
      sliding->prefill(random_tokens(40, random_gemma2().n_vocab, 6), {&plain, 1}, {}, logits);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(made.error().message.find("sliding"), std::string::npos);
}

}  // namespace
}  // namespace restkv
