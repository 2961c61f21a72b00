// All layers in one pool, asked layer by layer: the same rows as by whoever sees all scores at
// once. On plain arrays, then on models.

#include "engine/layer_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <tuple>

#include "engine/bare_engine.h"
#include "engine/plain_model.h"

namespace restkv {
namespace {

constexpr int kWindow = 8;
constexpr int kSinks = 4;

// What the offline choice sees of one head.
struct OfflineHead {
  std::vector<Position> positions;
  std::vector<float> scores;
  double unit = 1;
};

struct Offline {
  Position end = 0;
  std::size_t pool = 0;
  std::size_t floor = 0;
};

// Protected rows, then the best up to the floor of every head, then the best of all: better score,
// then lower layer, head and position.
std::vector<std::vector<Position>> offline_choice(const std::vector<OfflineHead>& heads,
                                                  const Offline& choice) {
  struct Row {
    int rank = 2;
    float score = 0;
    std::size_t head = 0;
    Position position = 0;
    auto key() const { return std::tuple(rank, -score, head, position); }
  };
  std::vector<Row> rows;
  for (std::size_t h = 0; h < heads.size(); ++h) {
    std::vector<Row> own;
    for (std::size_t i = 0; i < heads[h].positions.size(); ++i) {
      const Position position = heads[h].positions[i];
      const bool stays = position < kSinks || position >= choice.end - kWindow;
      const auto score = static_cast<float>(double{heads[h].scores[i]} / heads[h].unit);
      own.push_back({stays ? 0 : 2, stays ? 0 : score, h, position});
    }
    std::ranges::sort(own, {}, &Row::key);
    for (std::size_t i = 0; i < std::min(choice.floor, own.size()); ++i) {
      own[i].rank = std::min(own[i].rank, 1);
    }
    rows.insert(rows.end(), own.begin(), own.end());
  }
  std::ranges::sort(rows, {}, &Row::key);
  std::vector<std::vector<Position>> kept(heads.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i < choice.pool || rows[i].rank < 2) kept[rows[i].head].push_back(rows[i].position);
  }
  for (auto& head : kept) std::ranges::sort(head);
  return kept;
}

KvOptions options_of(std::string_view policy, double budget,
                     std::vector<ParamValues::Assignment> allocator_options = {}) {
  KvOptions options;
  options.policy = policy;
  options.allocator = "global";
  options.allocator_options = std::move(allocator_options);
  options.budget.amount = budget;
  options.window = kWindow;
  options.sinks = kSinks;
  options.type_k = options.type_v = KvType::kF32;
  return options;
}

double mass_of(const std::vector<OfflineHead>& heads, Position end) {
  double mass = 0;
  for (const OfflineHead& head : heads) {
    for (std::size_t i = 0; i < head.scores.size(); ++i) {
      const Position position = head.positions[i];
      const bool stays = position < kSinks || position >= end - kWindow;
      if (!stays) mass += std::abs(double{head.scores[i]});
    }
  }
  return mass;
}

// Random ragged heads with many ties, layers of very different size, floors; after every layer the
// pool holds the best of the layers so far.
TEST(LayerPool, HoldsTheBestOfTheLayersSoFar) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const std::size_t n_layer = 1 + random() % 5;
    const std::size_t n_head = 1 + random() % 3;
    const std::size_t budget = 12 + random() % 30;
    const double share = trial % 3 == 0 ? 0.5 : 0;
    const bool by_layer = trial % 2 == 0;
    const auto variant = Variant::make(options_of("knorm", static_cast<double>(budget),
                                                  {{"global-norm", by_layer ? "layer" : "none"},
                                                   {"floor", share > 0 ? "0.5" : "0"}}))
                             .value();
    const Position end = 60;
    const std::size_t pool_size = budget * n_layer * n_head;
    ByteCounter counter;
    LayerPool pool(*variant, {.budget = budget, .rows = pool_size}, counter);
    std::vector<OfflineHead> heads;
    std::vector<std::vector<Position>> held;
    for (std::size_t layer = 0; layer < n_layer; ++layer) {
      std::vector<OfflineHead> own(n_head);
      const int size = 1 + static_cast<int>(random() % 4);
      for (OfflineHead& head : own) {
        for (Position p = 0; p < end; ++p) {
          if (random() % 5 == 0 && p >= kSinks && p < end - kWindow) continue;
          head.positions.push_back(p);
          head.scores.push_back(static_cast<float>(size * static_cast<int>(random() % 9)) - 2.0F);
        }
      }
      if (by_layer) {
        const double mass = mass_of(own, end);
        for (OfflineHead& head : own) head.unit = mass;
      }
      LayerObservation observation;
      std::vector<HeadRows> views(n_head);
      LayerScores scores;
      for (std::size_t h = 0; h < n_head; ++h) {
        views[h].positions = own[h].positions;
        scores.push_back(own[h].scores);
        held.push_back(own[h].positions);
      }
      observation.layer = static_cast<int>(layer);
      observation.n_layer = static_cast<int>(n_layer);
      observation.heads = views;
      const auto keep = pool.add(
          {.observation = observation, .scores = scores, .next_position = end, .output_norm = 1});
      heads.insert(heads.end(), own.begin(), own.end());
      std::size_t rows = 0;
      for (std::size_t i = 0; i < held.size(); ++i) {
        std::vector<Position> left;
        for (const std::uint32_t row : keep[i / n_head][i % n_head]) left.push_back(held[i][row]);
        held[i] = std::move(left);
        rows += held[i].size();
      }
      const auto floor = static_cast<std::size_t>(share * static_cast<double>(budget));
      ASSERT_EQ(held, offline_choice(heads, {.end = end, .pool = pool_size, .floor = floor}))
          << "trial " << trial << ", layer " << layer;
      EXPECT_EQ(pool.bytes(), rows * sizeof(float));
      EXPECT_EQ(counter.now(), pool.bytes());
      EXPECT_LE(rows, pool_size);
    }
  }
}

// What the offline choice sees of a layer: all rows, and the policy's scores of them.
std::vector<OfflineHead> scored_heads(BareEngine& engine, const Variant& variant, double budget,
                                      LayerObservation layer) {
  Engine::State& state = engine.state();
  if (has(variant.needs(), Needs::kOutputProjection)) {
    layer.output_factors = state.model->output_factors(*state.kernels, state.threads, layer.layer);
  }
  // What a replay finds is not shown here, but stands in a cache afterwards.
  LayerScores scores;
  for (const HeadRows& head : layer.heads) scores.emplace_back(head.positions.size(), 0.0F);
  if (!has(variant.needs(), Needs::kReplay)) {
    scores = score_layer(variant, layer, static_cast<std::size_t>(budget), *state.kernels,
                         state.threads);
  }
  std::vector<OfflineHead> heads;
  for (std::size_t h = 0; h < scores.size(); ++h) {
    const auto positions = layer.heads[h].positions;
    heads.push_back(
        {.positions = {positions.begin(), positions.end()}, .scores = scores[h], .unit = 1});
  }
  return heads;
}

struct Asked {
  std::string_view policy;
  std::string_view norm;
  double share = 0;  // the floor's
};

// norms: of the newest token's hidden state after every layer.
void expect_offline_choice(BareEngine& engine, std::span<const Token> tokens,
                           const std::vector<double>& norms, const Asked& asked) {
  constexpr double kBudget = 40;
  const auto end = static_cast<Position>(tokens.size());
  KvOptions options = options_of(
      asked.policy, kBudget,
      {{"global-norm", std::string(asked.norm)}, {"floor", asked.share > 0 ? "0.6" : "0"}});
  std::vector<std::shared_ptr<const Variant>> variants = {Variant::make(options).value()};
  // The second keeps everything, and beside each row what a replay found it worth.
  options.budget.amount = 1000;
  variants.push_back(Variant::make(options).value());
  std::vector<std::vector<OfflineHead>> layers;
  PrefillOptions prefill;
  prefill.observed_queries = kWindow;
  prefill.on_layer = [&](const LayerObservation& layer) {
    layers.push_back(scored_heads(engine, *variants[0], kBudget, layer));
  };
  std::vector<float> logits;
  const auto made = run_prefill(
      engine.state(), {.tokens = tokens, .variants = variants, .options = &prefill}, logits);
  ASSERT_TRUE(made.ok()) << made.error().message;

  std::vector<OfflineHead> heads;
  std::vector<std::vector<Position>> kept;
  std::size_t pool = 0;
  std::size_t rows = 0;
  for (int layer = 0; layer < engine.config().n_layer; ++layer) {
    std::vector<OfflineHead>& own = layers[static_cast<std::size_t>(layer)];
    for (int h = 0; h < engine.config().n_kv_head; ++h) {
      OfflineHead& head = own[static_cast<std::size_t>(h)];
      if (has(variants[0]->needs(), Needs::kReplay)) {
        head.scores = made->caches[1].column_sums(layer, h);
        ASSERT_EQ(head.scores.size(), head.positions.size());
      }
      pool += std::min(static_cast<std::size_t>(kBudget), head.positions.size());
      kept.push_back(made->caches[0].held_positions(layer, h));
      rows += kept.back().size();
    }
    const double unit = asked.norm == "layer"    ? mass_of(own, end)
                        : asked.norm == "output" ? norms[static_cast<std::size_t>(layer)]
                                                 : 1.0;
    for (OfflineHead& head : own) head.unit = unit;
    heads.insert(heads.end(), own.begin(), own.end());
  }
  EXPECT_EQ(rows, pool);
  const auto floor = static_cast<std::size_t>(asked.share * kBudget);
  EXPECT_EQ(kept, offline_choice(heads, {.end = end, .pool = pool, .floor = floor}));
  EXPECT_DOUBLE_EQ(made->reports[0].kept_tokens_mean,
                   static_cast<double>(pool) / static_cast<double>(kept.size()));
}

class GlobalChoice : public testing::TestWithParam<RandomModel> {};

TEST_P(GlobalChoice, IsTheOfflineChoice) {
  BareEngine engine(GetParam());
  const auto tokens = random_tokens(150, GetParam().n_vocab, 1);
  PlainModel plain(engine.path());
  std::vector<double> norms;
  for (const std::vector<float>& hidden : plain.read(tokens).hidden) {
    norms.push_back(norm_of(std::span(hidden).last(std::size_t(plain.config().n_embd))));
  }
  for (const std::string_view policy :
       {"rest-kv", "knorm", "keydiff", "snapkv", "tova", "h2o", "kvzip"}) {
    for (const std::string_view norm : {"none", "layer", "output"}) {
      for (const double share : {0.0, 0.6}) {
        SCOPED_TRACE(std::string(policy) + " " + std::string(norm) + " " + std::to_string(share));
        expect_offline_choice(engine, tokens, norms,
                              {.policy = policy, .norm = norm, .share = share});
      }
    }
  }
}

// A token sees the kept rows of every head, whichever layer pushed the others out, and itself.
TEST_P(GlobalChoice, DecodesFromTheRowsThatAreLeft) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(121, GetParam().n_vocab, 2);
  const auto n = static_cast<Position>(tokens.size() - 1);
  auto run = engine.prefill(std::span(tokens).first(120), options_of("snapkv", 24));
  const KeptPositions kept = run.sequence.kept_positions();
  const auto logits = engine.decode(run.sequence, std::span(tokens).last(1));

  PlainModel plain(engine.path());
  const ModelConfig& config = plain.config();
  const auto dim = static_cast<std::size_t>(config.head_dim);
  const PlainModel::Prompt prompt = plain.read(std::span(tokens).first(120));
  std::vector<float> hidden = plain.embed(std::span(tokens).last(1));
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const auto at = static_cast<std::size_t>(layer);
    const auto made = plain.project(layer, hidden, {&n, 1});
    const int sliding = config.attention_rule(layer).sliding_window;
    std::vector<std::vector<Position>> held = kept[at];
    for (auto& head : held) {
      if (sliding > 0) std::erase_if(head, [&](Position p) { return p <= n - sliding; });
      head.push_back(n);
    }
    const auto row_of = [&](const std::vector<float>& old, const std::vector<float>& fresh) {
      return [&, dim](std::size_t h, std::size_t row) {
        const Position p = held[h][row];
        return p == n ? fresh.data() + h * dim
                      : old.data() + static_cast<std::size_t>(p) * config.kv_size() + h * dim;
      };
    };
    const auto attended = plain.attend(layer, made.q,
                                       {.count = [&](std::size_t h) { return held[h].size(); },
                                        .key = row_of(prompt.layers[at].k, made.k),
                                        .value = row_of(prompt.layers[at].v, made.v)});
    plain.finish(layer, attended, hidden);
  }
  EXPECT_LT(mean_square_error(logits, plain.logits(hidden)), 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Families, GlobalChoice,
                         testing::Values(random_llama(), random_gemma2(), random_gemma3()),
                         family_name);

}  // namespace
}  // namespace restkv
