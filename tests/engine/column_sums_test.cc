// What each row receives of the attention of a prompt, against attention by a plain loop; and that
// neither threads nor chunks change a bit of it.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/bare_engine.h"
#include "engine/decode.h"
#include "engine/plain_model.h"
#include "engine/variant.h"

namespace restkv {
namespace {

constexpr std::size_t kPrompt = 300;  // whole blocks of queries, and a part of one

using Sums = std::vector<std::vector<float>>;  // [n_layer * n_kv_head][tokens]

enum class Company { kAlone, kQueryHeads };

struct Reading {
  Company company = Company::kAlone;  // of a variant that keeps rows of each query head
  int threads = 1;
  std::size_t chunk = 64;
  std::string kernels = {};   // empty: the best
  std::size_t generated = 0;  // so many of the tokens come one by one
};

std::vector<Token> prompt_of(const RandomModel& model) {
  return random_tokens(kPrompt, model.n_vocab, 5);
}

// h2o with a cache that keeps everything. Attention goes to f32 rows, as the plain model's does.
Sums engine_sums(const RandomModel& model, const Reading& reading) {
  BareEngine engine(model);
  Engine::State& state = engine.state();
  state.threads = Threads(reading.threads);
  state.options.chunk = reading.chunk;
  state.options.products = ProductMode::kF32;
  state.kernels = table_by_name(reading.kernels).value();
  KvOptions options = full_cache();
  options.policy = "h2o";
  options.budget.amount = kPrompt;
  std::vector<std::shared_ptr<const Variant>> variants = {Variant::make(options).value()};
  if (reading.company == Company::kQueryHeads) {
    options.granularity = Granularity::kQueryHead;
    variants.push_back(Variant::make(options).value());
  }
  const std::vector<Token> tokens = prompt_of(model);
  const std::span<const Token> prompt(tokens.data(), tokens.size() - reading.generated);
  const PrefillOptions prefill;
  std::vector<float> logits;
  auto outcome =
      run_prefill(state, {.tokens = prompt, .variants = variants, .options = &prefill}, logits);
  EXPECT_TRUE(outcome.ok());
  Sequence::State sequence{.variant = variants.front(),
                           .cache = std::move(outcome->caches.front()),
                           .next_position = static_cast<Position>(prompt.size()),
                           .report = {}};
  Sequence::State* const alone[] = {&sequence};
  for (const Token token : std::span(tokens).subspan(prompt.size())) {
    EXPECT_TRUE(run_decode(state, alone, {&token, 1}, {logits.data(), 1, logits.size()}).ok());
  }
  Sums sums;
  for (int layer = 0; layer < model.n_layer; ++layer) {
    for (int h = 0; h < model.n_kv_head; ++h) {
      sums.push_back(sequence.cache.column_sums(layer, h));
    }
  }
  return sums;
}

Sums plain_sums(const RandomModel& model) {
  const TestEngine file(model);
  PlainModel plain(file.path());
  const ModelConfig& config = plain.config();
  const PlainModel::Prompt read = plain.read(prompt_of(model));
  const auto dim = static_cast<std::size_t>(config.head_dim);
  const auto group = static_cast<std::size_t>(config.group());
  Sums all;
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const PlainModel::Projected& made = read.layers[static_cast<std::size_t>(layer)];
    const auto sliding = static_cast<std::size_t>(config.attention_rule(layer).sliding_window);
    std::vector<std::vector<double>> sums(static_cast<std::size_t>(config.n_kv_head));
    for (auto& of_head : sums) of_head.resize(kPrompt);
    for (std::size_t i = 0; i < kPrompt; ++i) {
      const std::size_t oldest = sliding > 0 && i + 1 > sliding ? i + 1 - sliding : 0;
      const auto row_of = [&](const std::vector<float>& rows, std::size_t h, std::size_t row) {
        return rows.data() + (oldest + row) * config.kv_size() + h * dim;
      };
      std::vector<std::vector<double>> weights;
      (void)plain.attend(
          layer, std::span(made.q).subspan(i * config.q_size(), config.q_size()),
          {.count = [&](std::size_t) { return i + 1 - oldest; },
           .key = [&](std::size_t h, std::size_t row) { return row_of(made.k, h, row); },
           .value = [&](std::size_t h, std::size_t row) { return row_of(made.v, h, row); }},
          &weights);
      for (std::size_t head = 0; head < weights.size(); ++head) {
        for (std::size_t row = 0; row < weights[head].size(); ++row) {
          sums[head / group][oldest + row] += weights[head][row] / static_cast<double>(group);
        }
      }
    }
    for (const auto& of_head : sums) all.emplace_back(of_head.begin(), of_head.end());
  }
  return all;
}

class ColumnSums : public testing::TestWithParam<RandomModel> {};

TEST_P(ColumnSums, AreWhatAPlainLoopGives) {
  const Sums expected = plain_sums(GetParam());
  const Sums sums = engine_sums(GetParam(), {});
  ASSERT_EQ(sums.size(), expected.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    // Rows that left a window that slides are not held any more.
    ASSERT_LE(sums[i].size(), expected[i].size()) << i;
    EXPECT_TRUE(sums[i].size() == kPrompt || GetParam().sliding_window > 0) << i;
    EXPECT_LE(mean_square_error(sums[i], std::span(expected[i]).last(sums[i].size())), 1e-8) << i;
  }
}

// An answer looks at its prompt and at itself; a later turn chooses by that too.
TEST_P(ColumnSums, CountTheQueriesOfTokensThatAreGenerated) {
  const Sums expected = plain_sums(GetParam());
  const Sums sums = engine_sums(GetParam(), {.generated = 40});
  for (std::size_t i = 0; i < sums.size(); ++i) {
    ASSERT_LE(sums[i].size(), expected[i].size()) << i;
    EXPECT_TRUE(sums[i].size() == kPrompt || GetParam().sliding_window > 0) << i;
    EXPECT_LE(mean_square_error(sums[i], std::span(expected[i]).last(sums[i].size())), 1e-8) << i;
  }
}

TEST_P(ColumnSums, HaveTheSameBitsWithAnyThreadsAndChunks) {
  for (const KernelTable* table : all_tables()) {
    SCOPED_TRACE(table->name);
    const std::string name(table->name);
    const Sums expected = engine_sums(GetParam(), {.kernels = name});
    EXPECT_EQ(engine_sums(GetParam(), {.threads = 3, .kernels = name}), expected);
    // Tiles of keys begin with the oldest row that is held, which goes with the chunks.
    if (GetParam().sliding_window > 0) continue;
    EXPECT_EQ(engine_sums(GetParam(), {.chunk = 128, .kernels = name}), expected);
    EXPECT_EQ(engine_sums(GetParam(), {.threads = 2, .chunk = 512, .kernels = name}), expected);
  }
}

TEST_P(ColumnSums, AreThoseOfAVariantAlone) {
  EXPECT_EQ(engine_sums(GetParam(), {.company = Company::kQueryHeads}),
            engine_sums(GetParam(), {}));
}

// Groups of 2 and of 1, windows that slide, and a group so large that few tokens at a time have
// their weights kept.
RandomModel large_group() {
  RandomModel model = random_llama();
  model.n_layer = 2;
  model.n_head = 32;
  model.n_kv_head = 1;
  model.head_dim = 16;
  return model;
}
RandomModel sliding() {
  RandomModel model = random_gemma3();
  model.sliding_window = 50;
  return model;
}
RandomModel alone() {
  RandomModel model = random_qwen2();
  model.n_layer = 2;
  model.n_kv_head = model.n_head;
  return model;
}

INSTANTIATE_TEST_SUITE_P(Shapes, ColumnSums,
                         testing::Values(random_llama(), alone(), sliding(), large_group()),
                         [](const auto& named) {
                           const RandomModel& model = named.param;
                           return model.family + "_" + std::to_string(model.n_head) + "over" +
                                  std::to_string(model.n_kv_head);
                         });

}  // namespace
}  // namespace restkv
