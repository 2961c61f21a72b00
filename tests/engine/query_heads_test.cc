// Query heads that keep rows of their own. The slow reference is the publications' form: a model
// whose keys and values are written once for each query head, so that it has no groups, under the
// same method per KV head. And attention by plain loops over the rows that are said to be kept.

#include "engine/query_heads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/harness.h"
#include "engine/plain_model.h"
#include "engine/variant.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kPrompt = 120;
constexpr int kBudget = 40;
// Of logits with f32 caches, relative: groups of another size are summed in another order.
constexpr double kLimit = 1e-9;

KvOptions options_of(std::string_view policy, Granularity granularity,
                     std::string_view schedule = "once", KvType type = KvType::kF32) {
  KvOptions options;
  options.policy = policy;
  options.budget.amount = kBudget;
  options.window = 8;
  options.sinks = 4;
  options.type_k = options.type_v = type;
  options.granularity = granularity;
  options.schedule = Schedule::parse(schedule).value();
  return options;
}

KvOptions per_kv_head(KvOptions options) {
  options.granularity = Granularity::kKvHead;
  return options;
}

std::vector<std::string_view> evicting_policies() {
  std::vector<std::string_view> names;
  for (const PolicyInfo* policy : all_policies()) {
    if (!policy->keeps_all) names.push_back(policy->name);
  }
  return names;
}

RandomModel wide_llama() {  // groups of 9: a row's bits take two bytes
  return {.n_embd = 64, .n_head = 9, .n_kv_head = 1, .head_dim = 32, .seed = 3};
}

class QueryHeads : public testing::TestWithParam<RandomModel> {
 protected:
  [[nodiscard]] RandomModel repeated() const {
    RandomModel model = GetParam();
    model.repeated = true;
    return model;
  }
  [[nodiscard]] std::vector<Token> tokens(std::size_t n, std::uint32_t seed) const {
    return random_tokens(n, GetParam().n_vocab, seed);
  }
  // Prompt, generated tokens, a second turn, generated tokens, a third turn.
  void expect_same_as_repeated(TestEngine& engine, TestEngine& reference,
                               const KvOptions& options) {
    SCOPED_TRACE(options.policy + " " + options.allocator + " " + options.schedule.text());
    const auto text = tokens(kPrompt + 60, 1);
    const std::span<const Token> all(text);
    auto run = engine.prefill(all.first(kPrompt), options);
    auto wanted = reference.prefill(all.first(kPrompt), per_kv_head(options));
    ++compared_;
    if (!is_same(run.sequence, wanted.sequence, run.last_logits, wanted.last_logits)) return;
    std::size_t first = kPrompt;
    for (const std::size_t turn : {20U, 9U}) {
      const auto generated = all.subspan(first, 12);
      const auto next = all.subspan(first + 12, turn);
      first += 12 + turn;
      if (!is_same(run.sequence, wanted.sequence, engine.decode(run.sequence, generated),
                   reference.decode(wanted.sequence, generated))) {
        return;
      }
      EXPECT_EQ(run.sequence.report().generated_dropped,
                wanted.sequence.report().generated_dropped);
      if (!is_same(run.sequence, wanted.sequence, engine.extend(run.sequence, next),
                   reference.extend(wanted.sequence, next))) {
        return;
      }
    }
  }
  void TearDown() override { EXPECT_LE(near_ties_ * 30, compared_) << "too many to be ties"; }

 private:
  // False after a near tie that rounding decided: one row of one head stands for another.
  bool is_same(const Sequence& run, const Sequence& wanted, const std::vector<float>& logits,
               const std::vector<float>& expected) {
    EXPECT_EQ(run.report().kept_tokens_mean, wanted.report().kept_tokens_mean);
    const KeptPositions mine = run.kept_positions();
    const KeptPositions theirs = wanted.kept_positions();
    std::vector<Position> other;
    for (std::size_t layer = 0; layer < theirs.size(); ++layer) {
      if (mine[layer].size() != theirs[layer].size()) {
        ADD_FAILURE() << mine[layer].size() << " heads, not " << theirs[layer].size();
        return false;
      }
      for (std::size_t h = 0; h < theirs[layer].size(); ++h) {
        std::ranges::set_symmetric_difference(mine[layer][h], theirs[layer][h],
                                              std::back_inserter(other));
      }
    }
    if (other.empty()) {
      EXPECT_LT(mean_square_error(logits, expected), kLimit);
      return true;
    }
    EXPECT_EQ(other.size(), 2U) << "rows differ";
    ++near_ties_;
    return false;
  }

  std::size_t compared_ = 0;
  std::size_t near_ties_ = 0;
};

TEST_P(QueryHeads, KeepWhatARepeatedModelKeeps) {
  TestEngine engine(GetParam());
  TestEngine reference(repeated());
  for (const std::string_view policy : evicting_policies()) {
    expect_same_as_repeated(engine, reference, options_of(policy, Granularity::kQueryHead));
  }
  for (const AllocatorInfo* allocator : all_allocators()) {
    for (const char* policy : {"rest-kv", "h2o"}) {
      KvOptions options = options_of(policy, Granularity::kQueryHead);
      options.allocator = allocator->name;
      expect_same_as_repeated(engine, reference, options);
    }
  }
}

TEST_P(QueryHeads, FollowSchedulesAsARepeatedModelDoes) {
  TestEngine engine(GetParam());
  TestEngine reference(repeated());
  for (const char* schedule : {"every:5", "cap", "chunk:30"}) {
    for (const std::string_view policy : evicting_policies()) {
      const KvOptions options = options_of(policy, Granularity::kQueryHead, schedule);
      if (!check_kv_options(options).ok()) continue;
      expect_same_as_repeated(engine, reference, options);
    }
    for (const char* allocator : {"ada", "global", "pyramid"}) {
      for (const char* policy : {"snapkv", "tova"}) {
        KvOptions options = options_of(policy, Granularity::kQueryHead, schedule);
        options.allocator = allocator;
        expect_same_as_repeated(engine, reference, options);
      }
    }
  }
}

// Decode over rows that the engine says each head keeps, by plain loops; keys and values are those
// of the prompt read in full.
TEST_P(QueryHeads, AttendToTheirOwnRows) {
  TestEngine engine(GetParam());
  const TestEngine file(repeated());
  PlainModel plain(file.path());
  const ModelConfig& config = plain.config();
  const auto dim = static_cast<std::size_t>(config.head_dim);
  const auto n_embd = static_cast<std::size_t>(config.n_embd);
  const auto text = tokens(kPrompt + 8, 2);
  const PlainModel::Prompt read = plain.read(std::span(text).first(kPrompt));
  for (const std::string_view policy : {"rest-kv", "random"}) {
    auto run =
        engine.prefill(std::span(text).first(kPrompt), options_of(policy, Granularity::kQueryHead));
    const KeptPositions kept = run.sequence.kept_positions();
    std::vector<std::vector<float>> keys(kept.size()), values(kept.size());  // of generated tokens
    for (std::size_t i = kPrompt; i < text.size(); ++i) {
      const auto position = static_cast<Position>(i);
      std::vector<float> hidden = plain.embed(std::span(text).subspan(i, 1));
      for (std::size_t layer = 0; layer < kept.size(); ++layer) {
        const auto made = plain.project(static_cast<int>(layer), hidden, {&position, 1});
        keys[layer].insert(keys[layer].end(), made.k.begin(), made.k.end());
        values[layer].insert(values[layer].end(), made.v.begin(), made.v.end());
        const int sliding = config.attention_rule(static_cast<int>(layer)).sliding_window;
        std::vector<std::vector<std::size_t>> seen;  // [heads] positions
        for (const std::vector<Position>& head : kept[layer]) {
          std::vector<std::size_t>& rows = seen.emplace_back(head.begin(), head.end());
          for (std::size_t p = kPrompt; p <= i; ++p) rows.push_back(p);
          std::erase_if(rows, [&](std::size_t p) {
            return sliding > 0 && p + static_cast<std::size_t>(sliding) <= i;
          });
        }
        const auto row = [&](const std::vector<float>& prompt, const std::vector<float>& generated,
                             std::size_t h, std::size_t r) {
          const std::size_t p = seen[h][r];
          const std::vector<float>& from = p < kPrompt ? prompt : generated;
          return from.data() + (p < kPrompt ? p : p - kPrompt) * config.kv_size() + h * dim;
        };
        const std::vector<float> attended = plain.attend(
            static_cast<int>(layer), made.q,
            {.count = [&](std::size_t h) { return seen[h].size(); },
             .key = [&](std::size_t h,
                        std::size_t r) { return row(read.layers[layer].k, keys[layer], h, r); },
             .value =
                 [&](std::size_t h, std::size_t r) {
                   return row(read.layers[layer].v, values[layer], h, r);
                 }});
        plain.finish(static_cast<int>(layer), attended, hidden);
      }
      EXPECT_LT(mean_square_error(engine.decode(run.sequence, std::span(text).subspan(i, 1)),
                                  plain.logits(std::span(hidden).last(n_embd))),
                1e-8)
          << policy << " " << i;
    }
  }
}

// A row is stored once, as long as a query head of its group keeps it; what is counted is there.
TEST_P(QueryHeads, ShareTheRowsThatSeveralKeep) {
  TestEngine engine(GetParam());
  const auto group = static_cast<std::size_t>(engine->model().n_head / engine->model().n_kv_head);
  const auto text = tokens(kPrompt, 4);
  for (const std::string_view policy : evicting_policies()) {
    SCOPED_TRACE(policy);
    engine->reset_cache_peak();
    auto run =
        engine.prefill(text, options_of(policy, Granularity::kQueryHead, "once", KvType::kF16));
    const KeptPositions kept = run.sequence.kept_positions();
    // Keys and values of f16, a position, a bit for each query head; H2O and KVzip a number for
    // each.
    const bool numbers = policy == "h2o" || policy == "observed-attention" || policy == "kvzip";
    const std::size_t row_bytes = static_cast<std::size_t>(engine->model().head_dim) * 4 + 4 +
                                  (group + 7) / 8 + (numbers ? 4 * group : 0);
    std::size_t stored = 0;
    std::size_t bytes = 0;
    for (const auto& layer : kept) {
      ASSERT_EQ(layer.size(), static_cast<std::size_t>(engine->model().n_head));
      for (std::size_t first = 0; first < layer.size(); first += group) {
        std::set<Position> any;
        for (std::size_t g = 0; g < group; ++g) {
          any.insert(layer[first + g].begin(), layer[first + g].end());
          EXPECT_LE(layer[first + g].size(), static_cast<std::size_t>(kBudget));
        }
        stored += any.size();
        bytes += (any.size() + 15) / 16 * 16 * row_bytes;
      }
    }
    EXPECT_EQ(run.sequence.rows(), stored);
    EXPECT_EQ(run.sequence.bytes(), bytes);
    EXPECT_EQ(run.sequence.bytes(), engine->cache_bytes());  // nothing else is held
    const KvReport report = run.sequence.report();
    EXPECT_EQ(report.granularity, "query-head");
    EXPECT_EQ(report.kept_tokens_max, static_cast<std::size_t>(kBudget));
    EXPECT_DOUBLE_EQ(
        report.stored_tokens_mean * static_cast<double>(kept.size()) * engine->model().n_kv_head,
        static_cast<double>(stored));
    EXPECT_EQ(report.bytes_peak, engine->cache_bytes_peak());
    // A later turn holds the layer in hand once for each query head.
    engine->reset_cache_peak();
    (void)engine.extend(run.sequence, std::span(text).first(30));
    EXPECT_EQ(run.sequence.report().bytes_peak, engine->cache_bytes_peak());
  }
}

TEST_P(QueryHeads, LeaveAPromptThatFitsAlone) {
  TestEngine engine(GetParam());
  const auto text = tokens(110, 5);
  const std::span<const Token> all(text);
  for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
    auto full = engine.prefill(all.first(60), full_cache(type));
    const auto turn = engine.extend(full.sequence, all.subspan(60, 30));
    const auto next = engine.decode(full.sequence, all.subspan(90));
    for (const std::string_view policy : evicting_policies()) {
      KvOptions options = options_of(policy, Granularity::kQueryHead, "once", type);
      options.budget.amount = 110;
      auto run = engine.prefill(all.first(60), options);
      EXPECT_EQ(run.last_logits, full.last_logits);
      EXPECT_EQ(engine.extend(run.sequence, all.subspan(60, 30)), turn) << policy;
      EXPECT_EQ(engine.decode(run.sequence, all.subspan(90)), next) << policy;
      EXPECT_TRUE(run.sequence.report().untouched);
    }
  }
}

// Beside variants per KV head, in batches, and after a fork, each does what it does alone.
TEST_P(QueryHeads, AreNotChangedByCompany) {
  TestEngine engine(GetParam());
  const auto text = tokens(kPrompt, 6);
  const auto next = tokens(14, 7);
  std::vector<KvOptions> variants;
  for (const Granularity granularity : {Granularity::kQueryHead, Granularity::kKvHead}) {
    for (const char* policy : {"rest-kv", "h2o", "observed-attention", "kvzip", "tova", "random"}) {
      variants.push_back(options_of(policy, granularity, "once", KvType::kF16));
    }
    variants.push_back(options_of("h2o", granularity, "cap", KvType::kQ8_0));
    variants.push_back(options_of("snapkv", granularity, "every:4", KvType::kF16));
  }
  std::vector<float> logits;
  auto shared = engine->prefill(text, variants, {}, logits);
  ASSERT_TRUE(shared.ok()) << shared.error().message;
  std::vector<Sequence> forks;
  std::vector<Sequence*> batch;
  for (Sequence& sequence : *shared) forks.push_back(sequence.fork());
  for (Sequence& fork : forks) batch.push_back(&fork);
  const auto n_vocab = static_cast<std::size_t>(engine->model().n_vocab);
  std::vector<std::vector<float>> together(variants.size());
  std::vector<float> step(batch.size() * n_vocab);
  for (const Token token : next) {
    const std::vector<Token> same(batch.size(), token);
    ASSERT_TRUE(engine->decode(batch, same, {step.data(), batch.size(), n_vocab}).ok());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto begin = step.begin() + static_cast<std::ptrdiff_t>(i * n_vocab);
      together[i].insert(together[i].end(), begin, begin + static_cast<std::ptrdiff_t>(n_vocab));
    }
  }
  for (std::size_t i = 0; i < variants.size(); ++i) {
    SCOPED_TRACE(variants[i].policy + " " + variants[i].schedule.text());
    auto alone = engine.prefill(text, variants[i]);
    EXPECT_EQ(alone.last_logits, logits);
    EXPECT_EQ((*shared)[i].kept_positions(), alone.sequence.kept_positions());
    EXPECT_EQ((*shared)[i].report().bytes_peak, alone.sequence.report().bytes_peak);
    EXPECT_EQ(engine.decode(alone.sequence, next), together[i]);
    EXPECT_EQ(forks[i].kept_positions(), alone.sequence.kept_positions());
    EXPECT_EQ(engine.decode((*shared)[i], next), together[i]);
  }
}

// A decode budget of all rows reads what dense decode reads.
TEST_P(QueryHeads, AreReadInBlocksToo) {
  TestEngine engine(GetParam());
  const auto text = tokens(kPrompt, 8);
  const auto next = tokens(20, 9);
  for (const char* schedule : {"once", "every:6"}) {
    KvOptions options = options_of("rest-kv", Granularity::kQueryHead, schedule, KvType::kF16);
    auto dense = engine.prefill(text, options);
    const auto wanted = engine.decode(dense.sequence, next);
    for (const char* method : {"quest", "arkvale", "ab-sparse"}) {
      options.decode.method = method;
      options.decode.budget = Budget{.unit = Budget::Unit::kPercent, .amount = 100};
      auto all = engine.prefill(text, options);
      EXPECT_EQ(engine.decode(all.sequence, next), wanted) << method;
      options.decode.budget = Budget{.unit = Budget::Unit::kTokens, .amount = 16};
      auto part = engine.prefill(text, options);
      const auto logits = engine.decode(part.sequence, next);
      EXPECT_TRUE(std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) << method;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, QueryHeads,
                         testing::Values(random_llama(), random_qwen2(), random_gemma2(),
                                         random_gemma3(), wide_llama()),
                         [](const auto& named) {
                           return named.param.family + "_" + std::to_string(named.param.n_head) +
                                  "_" + std::to_string(named.param.n_kv_head);
                         });

// Where every KV head has one query head, there is nothing to tell apart: not a bit, not a byte.
TEST(QueryHeadsWithoutGroups, AreKvHeads) {
  TestEngine engine(RandomModel{.n_head = 3, .n_kv_head = 3, .head_dim = 32});
  const auto text = random_tokens(kPrompt + 20, engine->model().n_vocab, 1);
  const std::span<const Token> all(text);
  for (const std::string_view policy : evicting_policies()) {
    const KvOptions options = options_of(policy, Granularity::kQueryHead, "once", KvType::kQ8_0);
    auto run = engine.prefill(all.first(kPrompt), options);
    auto wanted = engine.prefill(all.first(kPrompt), per_kv_head(options));
    EXPECT_EQ(run.sequence.kept_positions(), wanted.sequence.kept_positions());
    EXPECT_EQ(run.sequence.bytes(), wanted.sequence.bytes());
    EXPECT_EQ(engine.decode(run.sequence, all.subspan(kPrompt, 5)),
              engine.decode(wanted.sequence, all.subspan(kPrompt, 5)))
        << policy;
    EXPECT_EQ(engine.extend(run.sequence, all.subspan(kPrompt + 5)),
              engine.extend(wanted.sequence, all.subspan(kPrompt + 5)))
        << policy;
  }
}

TEST(Granularity, WhatDoesNotGoTogetherIsSaid) {
  const auto refused = [](const KvOptions& options, const char* part) {
    const auto checked = check_kv_options(options);
    ASSERT_FALSE(checked.ok());
    EXPECT_NE(checked.error().message.find(part), std::string::npos) << checked.error().message;
  };
  KvOptions options = options_of("streaming-llm", Granularity::kQueryHead);
  EXPECT_TRUE(check_kv_options(options).ok());
  options.policy_options = {{"positions", "renumbered"}};
  refused(options, "streaming-llm: positions=renumbered does not go with the granularity");
  options = options_of("rest-kv", Granularity::kQueryHead);
  options.group_score = GroupScore::kMax;
  refused(options, "largest score of a group does not go with the granularity query-head");
  options.granularity = Granularity::kKvHead;
  EXPECT_TRUE(check_kv_options(options).ok());
  options.policy = "h2o";
  refused(options, "does not go with h2o");
  options.policy = "chunkkv";
  EXPECT_TRUE(check_kv_options(options).ok());
  options.policy = "full";
  EXPECT_TRUE(check_kv_options(options).ok());
  for (const char* text : {"kv-head", "query-head"}) {
    EXPECT_EQ(granularity_name(parse_granularity(text).value()), text);
  }
  for (const char* text : {"mean", "max"}) {
    EXPECT_EQ(group_score_name(parse_group_score(text).value()), text);
  }
  EXPECT_FALSE(parse_granularity("head").ok());
  EXPECT_FALSE(parse_group_score("sum").ok());
}

}  // namespace
}  // namespace restkv
