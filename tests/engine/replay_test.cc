// Policies that read the text a second time, against an engine of plain loops: one row after the
// other, every query of the replay over all that it sees, over two turns.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/harness.h"
#include "engine/plain_model.h"
#include "engine/variant.h"

namespace restkv {
namespace {

constexpr int kWindow = 8;
constexpr int kSinks = 4;
constexpr std::size_t kBudget = 30;

KvOptions options_of(std::vector<ParamValues::Assignment> policy_options) {
  KvOptions options;
  options.policy = "kvzip";
  options.policy_options = std::move(policy_options);
  options.budget.amount = kBudget;
  options.window = kWindow;
  options.sinks = kSinks;
  options.type_k = options.type_v = KvType::kF32;
  return options;
}

// A sequence without tricks.
class PlainSequence {
 public:
  struct Setting {
    std::size_t piece = 2048;
    bool rest = false;  // ReST-KV's measure instead of the largest attention
  };
  PlainSequence(PlainModel& model, Setting setting)
      : model_(model),
        config_(model.config()),
        setting_(setting),
        dim_(static_cast<std::size_t>(config_.head_dim)),
        layers_(static_cast<std::size_t>(config_.n_layer)) {
    for (auto& heads : layers_) heads.resize(static_cast<std::size_t>(config_.n_kv_head));
  }

  void read(std::span<const Token> tokens) {
    std::vector<float> hidden = model_.embed(tokens);
    std::vector<float> again = hidden;
    const Position end = next_ + static_cast<Position>(tokens.size());
    for (int layer = 0; layer < config_.n_layer; ++layer) {
      pass(layer, next_, hidden, layers_[static_cast<std::size_t>(layer)], /*judged=*/0);
      slide(layer, end);
      replay(layer, end, again);
      drop(layer, end);
    }
    next_ = end;
  }

  [[nodiscard]] KeptPositions kept() const {
    KeptPositions kept;
    for (const auto& heads : layers_) {
      auto& layer = kept.emplace_back();
      for (const auto& rows : heads) {
        auto& head = layer.emplace_back();
        for (const Row& row : rows) head.push_back(row.position);
      }
    }
    return kept;
  }

 private:
  struct Row {
    Position position = 0;
    std::vector<float> k, v;
    double worth = 0;
  };
  using Heads = std::vector<std::vector<Row>>;

  // Tokens at first, first + 1, ... go through the layer, each adding its row and raising the worth
  // of rows at positions below `judged`.
  void pass(int layer, Position first, std::span<float> hidden, Heads& heads, Position judged) {
    const auto n_embd = static_cast<std::size_t>(config_.n_embd);
    const std::size_t n = hidden.size() / n_embd;
    std::vector<Position> positions(n);
    for (std::size_t i = 0; i < n; ++i) positions[i] = first + static_cast<Position>(i);
    const auto made = model_.project(layer, hidden, positions);
    const int sliding = config_.attention_rule(layer).sliding_window;
    std::vector<float> attended;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<std::vector<Row*>> seen(heads.size());
      for (std::size_t h = 0; h < heads.size(); ++h) {
        const auto* k = made.k.data() + i * config_.kv_size() + h * dim_;
        const auto* v = made.v.data() + i * config_.kv_size() + h * dim_;
        heads[h].push_back({.position = positions[i], .k = {k, k + dim_}, .v = {v, v + dim_}});
        for (Row& row : heads[h]) {
          if (sliding == 0 || row.position > positions[i] - sliding) seen[h].push_back(&row);
        }
      }
      std::vector<std::vector<double>> weights;
      const std::vector<float> one = model_.attend(
          layer, std::span(made.q).subspan(i * config_.q_size(), config_.q_size()),
          {.count = [&](std::size_t h) { return seen[h].size(); },
           .key = [&](std::size_t h, std::size_t row) { return seen[h][row]->k.data(); },
           .value = [&](std::size_t h, std::size_t row) { return seen[h][row]->v.data(); }},
          &weights);
      attended.insert(attended.end(), one.begin(), one.end());
      judge(layer, one, weights, seen, judged);
    }
    model_.finish(layer, attended, hidden);
  }

  void judge(int layer, const std::vector<float>& output,
             const std::vector<std::vector<double>>& weights,
             const std::vector<std::vector<Row*>>& seen, Position judged) {
    for (std::size_t head = 0; head < weights.size(); ++head) {
      const std::size_t h = head / static_cast<std::size_t>(config_.group());
      for (std::size_t j = 0; j < seen[h].size(); ++j) {
        Row& row = *seen[h][j];
        if (row.position >= judged) continue;
        double worth = weights[head][j];
        if (setting_.rest) {
          std::vector<double> move(dim_);
          for (std::size_t d = 0; d < dim_; ++d) {
            move[d] = double{output[head * dim_ + d]} - row.v[d];
          }
          worth *= projected_length(layer, head, move) / std::max(1 - worth, 0x1p-24);
        }
        row.worth = std::max(row.worth, worth);
      }
    }
  }

  // |W_o^h x|
  double projected_length(int layer, std::size_t head, const std::vector<double>& x) {
    const auto n_embd = static_cast<std::size_t>(config_.n_embd);
    std::vector<float>& columns = columns_[layer];
    const auto n_head = static_cast<std::size_t>(config_.n_head);
    if (columns.empty()) {
      columns.resize(n_head * dim_ * n_embd);
      model_.model().output_columns(layer, {columns.data(), n_head, dim_, n_embd});
    }
    double sum = 0;
    for (std::size_t e = 0; e < n_embd; ++e) {
      double element = 0;
      for (std::size_t d = 0; d < dim_; ++d) {
        element += x[d] * columns[(head * dim_ + d) * n_embd + e];
      }
      sum += element * element;
    }
    return std::sqrt(sum);
  }

  void slide(int layer, Position end) {
    const int sliding = config_.attention_rule(layer).sliding_window;
    if (sliding == 0) return;
    for (auto& rows : layers_[static_cast<std::size_t>(layer)]) {
      std::erase_if(rows, [&](const Row& row) { return row.position < end - sliding; });
    }
  }

  void replay(int layer, Position end, std::span<float> hidden) {
    const auto n_embd = static_cast<std::size_t>(config_.n_embd);
    Heads& heads = layers_[static_cast<std::size_t>(layer)];
    for (std::size_t first = 0; first < hidden.size(); first += setting_.piece * n_embd) {
      const std::size_t size = std::min(setting_.piece * n_embd, hidden.size() - first);
      pass(layer, end, hidden.subspan(first, size), heads, /*judged=*/end);
      for (auto& rows : heads) {
        std::erase_if(rows, [&](const Row& row) { return row.position >= end; });
      }
    }
  }

  void drop(int layer, Position end) {
    Heads& heads = layers_[static_cast<std::size_t>(layer)];
    for (auto& rows : heads) {
      if (rows.size() <= kBudget) continue;
      std::ranges::sort(rows, [&](const Row& a, const Row& b) {
        const auto stays = [&](const Row& row) {
          return row.position < kSinks || row.position >= end - kWindow;
        };
        if (stays(a) != stays(b)) return stays(a);
        return a.worth != b.worth ? a.worth > b.worth : a.position < b.position;
      });
      rows.resize(kBudget);
      std::ranges::sort(rows, {}, &Row::position);
    }
  }

  PlainModel& model_;
  const ModelConfig& config_;
  Setting setting_;
  std::size_t dim_;
  Position next_ = 0;
  std::vector<Heads> layers_;
  std::map<int, std::vector<float>> columns_;
};

// Plain loops over every query, row and head want few of them.
RandomModel small(RandomModel model) {
  model.n_layer = 2;
  model.n_embd = 32;
  model.n_ff = 32;
  model.head_dim = 32;
  return model;
}

class Replay : public testing::TestWithParam<RandomModel> {};

TEST_P(Replay, KeepsWhatAPlainReplayKeeps) {
  EngineOptions engine_options = TestEngine::default_options();
  engine_options.chunk = 20;
  TestEngine engine(GetParam(), engine_options);
  PlainModel model(engine.path());
  const auto tokens = random_tokens(80, GetParam().n_vocab, 1);
  const auto text = std::span(tokens).first(60);
  const auto turn = std::span(tokens).subspan(60);
  for (const char* piece : {"25", "2048"}) {
    for (const bool rest : {false, true}) {
      SCOPED_TRACE(std::string(piece) + (rest ? " rest" : " max"));
      auto run =
          engine.prefill(text, options_of({{"piece", piece}, {"score", rest ? "rest" : "max"}}));
      PlainSequence plain(model,
                          {.piece = static_cast<std::size_t>(std::atoi(piece)), .rest = rest});
      plain.read(text);
      EXPECT_EQ(run.sequence.kept_positions(), plain.kept());
      // What is left of the text is worth what it was; the turn repeats itself only.
      engine.extend(run.sequence, turn);
      plain.read(turn);
      EXPECT_EQ(run.sequence.kept_positions(), plain.kept());
    }
  }
}

// Another method's sums and a replay of another length stand beside it.
TEST_P(Replay, SharesAPrefill) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(90, GetParam().n_vocab, 2);
  std::vector<KvOptions> variants = {options_of({{"piece", "30"}}), options_of({}), options_of({}),
                                     options_of({{"score", "rest"}}), options_of({})};
  variants[1].policy = "h2o";
  variants[4].policy = "knorm";
  std::vector<float> logits;
  auto shared = engine->prefill(tokens, variants, {}, logits);
  ASSERT_TRUE(shared.ok()) << shared.error().message;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    auto alone = engine.prefill(tokens, variants[i]);
    EXPECT_EQ((*shared)[i].kept_positions(), alone.sequence.kept_positions()) << i;
    EXPECT_EQ((*shared)[i].report().bytes_peak, alone.sequence.report().bytes_peak) << i;
    EXPECT_EQ((*shared)[i].report().hidden_bytes, alone.sequence.report().hidden_bytes) << i;
    EXPECT_EQ((*shared)[i].bytes(), alone.sequence.bytes()) << i;
    // The next turn goes on from the same numbers beside the rows.
    engine.extend((*shared)[i], std::span(tokens).first(20));
    engine.extend(alone.sequence, std::span(tokens).first(20));
    EXPECT_EQ((*shared)[i].kept_positions(), alone.sequence.kept_positions()) << i;
  }
}

// A replay and scores take their time from those that use them, whoever made them.
TEST_P(Replay, IsPaidByThoseThatUseIt) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(300, GetParam().n_vocab, 2);
  std::vector<KvOptions> variants = {options_of({}), options_of({}), options_of({})};
  variants[1].budget.amount += 1;
  variants[2].policy = "streaming-llm";
  std::vector<float> logits;
  // A machine that does something else at the wrong moment may spoil one attempt.
  bool told_apart = false;
  for (int attempt = 0; attempt < 5 && !told_apart; ++attempt) {
    const auto shared = engine->prefill(tokens, variants, {}, logits);
    ASSERT_TRUE(shared.ok()) << shared.error().message;
    const double all = engine->last_prefill().compress_ms;
    const auto cost = [&](std::size_t i) { return (*shared)[i].report().compress_ms; };
    EXPECT_GT(cost(0) + cost(1) + cost(2), all) << "what is shared counts for each";
    told_apart = cost(0) > all / 2 && cost(1) > all / 2 && cost(2) < all / 2;
  }
  EXPECT_TRUE(told_apart);
}

TEST_P(Replay, HoldsOneLayerAndOnePiece) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(300, GetParam().n_vocab, 3);
  engine->reset_cache_peak();
  auto run = engine.prefill(tokens, options_of({{"piece", "50"}}));
  const KvReport report = run.sequence.report();
  EXPECT_EQ(report.bytes_peak, engine->cache_bytes_peak());
  const auto dim = static_cast<std::size_t>(GetParam().head_dim);
  const std::size_t row = static_cast<std::size_t>(GetParam().n_kv_head) *
                          (2 * kv_row_bytes(KvType::kF32, dim) + sizeof(Position) + sizeof(float));
  EXPECT_LE(report.bytes_peak, report.bytes + (300 + 50) * row);
}

INSTANTIATE_TEST_SUITE_P(Families, Replay,
                         testing::Values(small(random_llama()), small(random_gemma2()),
                                         small(random_gemma3())),
                         family_name);

TEST(ReplayOptions, AreRefusedWhereTextIsReadOnce) {
  for (const char* schedule : {"cap", "every:8"}) {
    KvOptions options = options_of({});
    options.schedule = Schedule::parse(schedule).value();
    const auto checked = check_kv_options(options);
    ASSERT_FALSE(checked.ok());
    EXPECT_NE(checked.error().message.find("kvzip"), std::string::npos);
    EXPECT_NE(checked.error().message.find("second time"), std::string::npos);
  }
}

// A worth is the largest already, whoever asks for it; others have one score for a group.
TEST(ReplayOptions, SayThatAGroupsLargestIsTakenInAnyCase) {
  KvOptions alone = options_of({});
  KvOptions within = options_of({{"score", "kvzip"}});
  within.policy = "chunkkv";
  KvOptions other = options_of({});
  other.policy = "h2o";
  const auto message = [](KvOptions& options) {
    options.group_score = GroupScore::kMax;
    const auto checked = check_kv_options(options);
    EXPECT_FALSE(checked.ok()) << options.policy;
    return checked.ok() ? "" : checked.error().message;
  };
  EXPECT_NE(message(alone).find("in any case"), std::string::npos);
  EXPECT_NE(message(within).find("in any case"), std::string::npos);
  EXPECT_NE(message(other).find("no score for each query head"), std::string::npos);
}

}  // namespace
}  // namespace restkv
