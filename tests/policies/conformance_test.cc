// What holds for every policy with every allocator in each of its forms, whatever it scores: a new
// file in src/policies or src/budgets is tested here without a line being written.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cache/byte_counter.h"
#include "engine/combinations.h"
#include "engine/compress.h"
#include "engine/layer_pool.h"
#include "policies/layers.h"
#include "restkv/allocator.h"

namespace restkv {
namespace {

constexpr int kWindow = 8;
constexpr int kSinks = 4;
constexpr std::size_t kProtected = kWindow + kSinks;

struct Pair {
  std::string policy;
  std::string allocator;  // "ada:form=ffy0"
};
std::vector<Pair> all_pairs() {
  const std::vector<Dimension> dimensions = combination_dimensions();
  const auto allocators = std::ranges::find(dimensions, "allocator", &Dimension::name);
  std::vector<Pair> pairs;
  for (const PolicyInfo* policy : all_policies()) {
    for (const Setting& allocator : allocators->settings) {
      pairs.push_back({std::string(policy->name), allocator.text});
    }
  }
  return pairs;
}
std::string name_of(const testing::TestParamInfo<Pair>& tested) {
  std::string name = tested.param.policy + "_" + tested.param.allocator;
  for (const char mark : {'-', ':', '='}) std::ranges::replace(name, mark, '_');
  return name;
}

struct Choice {
  std::size_t budget = 24;
  int threads = 1;
  const KernelTable* kernels = &best_table();
  Protect protect = Protect::kDefault;
};

std::shared_ptr<const Variant> variant_of(const Pair& pair, const Choice& choice) {
  KvOptions options;
  options.policy = pair.policy;
  // By their defaults these would do on so few rows what others do: the newest rows, no shift.
  if (pair.policy == "lagkv") options.policy_options.emplace_back("lag", "8");
  if (pair.policy == "rest-kv") options.policy_options.emplace_back("scale", "10");
  NamedParams allocator = parse_named_params(pair.allocator).value();
  options.allocator = std::move(allocator.name);
  options.allocator_options = std::move(allocator.assignments);
  options.budget.amount = static_cast<double>(choice.budget);
  options.window = kWindow;
  options.sinks = kSinks;
  options.protect = choice.protect;
  auto variant = Variant::make(options);
  EXPECT_TRUE(variant.ok()) << variant.error().message;
  return *variant;
}

// The first `n_layer` layers, all alike but for their number, of a model of that many.
std::vector<KeepSets> keep_of_layers(const Pair& pair, LayerObservation layer, const Choice& choice,
                                     int n_layer) {
  const auto variant = variant_of(pair, choice);
  const Threads threads(choice.threads);
  const Position end = layer.window_positions.back() + 1;
  // A policy that keeps everything is never asked by the engine: its budget is the whole prompt.
  const std::size_t budget =
      variant->policy().keeps_all ? static_cast<std::size_t>(end) : choice.budget;
  ByteCounter counter;
  LayerPool pool(
      *variant,
      {.budget = budget, .rows = budget * layer.heads.size() * static_cast<std::size_t>(n_layer)},
      counter);
  std::vector<KeepSets> keep;
  for (layer.layer = 0; layer.layer < n_layer; ++layer.layer) {
    const LayerScores scores = score_layer(*variant, layer, budget, *choice.kernels, threads);
    if (!variant->allocator_info().across_layers) {
      keep.push_back(choose_rows(*variant, layer, scores, budget, end));
      continue;
    }
    std::vector<KeepSets> left =
        pool.add({.observation = layer, .scores = scores, .next_position = end, .output_norm = 1});
    keep.push_back(std::move(left.back()));
    for (std::size_t l = 0; l + 1 < keep.size(); ++l) {
      for (std::size_t h = 0; h < keep[l].size(); ++h) {
        for (std::uint32_t& row : left[l][h]) row = keep[l][h][row];
      }
      keep[l] = std::move(left[l]);
    }
  }
  return keep;
}

// One layer; where layers compete, it is alone.
KeepSets keep_of(const Pair& pair, const LayerObservation& layer, const Choice& choice) {
  return keep_of_layers(pair, layer, choice, 1).front();
}

std::size_t total(const KeepSets& keep) {
  std::size_t sum = 0;
  for (const auto& head : keep) sum += head.size();
  return sum;
}

bool is_pyramid(const Pair& pair) { return pair.allocator.starts_with("pyramid"); }
bool rounds_heads(const Pair& pair) { return pair.allocator == "ada:form=ffy0"; }

class Conformance : public testing::TestWithParam<Pair> {
 protected:
  [[nodiscard]] bool keeps_all() const { return find_policy(GetParam().policy)->keeps_all; }
  // Where the count of every head is rounded: a layer of `heads` keeps half a row a head more than
  // the budget at the most, and one and a half less.
  static void expect_rounded(std::size_t kept, std::size_t heads, std::size_t budget) {
    EXPECT_LE(2 * kept, heads * (2 * budget + 1));
    EXPECT_GE(2 * kept + 3 * heads, heads * 2 * budget);
  }

  // In order, unique, in range, and with every protected row.
  static void expect_sound(const KeepSets& keep, const LayerObservation& layer, int sinks,
                           int window) {
    ASSERT_EQ(keep.size(), layer.heads.size());
    const Position end = layer.window_positions.back() + 1;
    for (std::size_t h = 0; h < keep.size(); ++h) {
      EXPECT_TRUE(std::ranges::adjacent_find(keep[h], std::ranges::greater_equal()) ==
                  keep[h].end());
      const std::span<const Position> positions = layer.heads[h].positions;
      ASSERT_TRUE(keep[h].empty() || keep[h].back() < positions.size());
      for (std::uint32_t row = 0; row < positions.size(); ++row) {
        if (positions[row] < sinks || positions[row] >= end - window) {
          EXPECT_TRUE(std::ranges::binary_search(keep[h], row)) << "head " << h << " row " << row;
        }
      }
    }
  }
};

const std::vector<LayerShape>& shapes() {
  static const std::vector<LayerShape> all = [] {
    std::vector<LayerShape> made;
    for (const auto& [heads, kv_heads] : {std::pair(4, 4), std::pair(6, 2), std::pair(3, 1)}) {
      made.push_back({.n_head = heads, .n_kv_head = kv_heads, .rows = 120, .type = KvType::kF16});
    }
    return made;
  }();
  return all;
}

TEST_P(Conformance, MeetsTheBudgetAndKeepsWhatIsProtected) {
  for (const LayerShape& shape : shapes()) {
    const TestLayer layer = TestLayer::random(shape, 11);
    const auto heads = static_cast<std::size_t>(shape.n_kv_head);
    for (const std::size_t budget : {kProtected, kProtected + 1, std::size_t{24}, shape.rows - 1}) {
      SCOPED_TRACE(testing::Message() << heads << " KV heads, budget " << budget);
      // Over all layers, for allocators that give to one layer what they take from another.
      std::size_t kept = 0;
      const LayerObservation& shown = layer.observation();
      for (const KeepSets& keep :
           keep_of_layers(GetParam(), shown, {.budget = budget}, shown.n_layer)) {
        expect_sound(keep, shown, kSinks, kWindow);
        kept += total(keep);
      }
      const auto layers = static_cast<std::size_t>(shown.n_layer);
      if (keeps_all()) {
        // The engine asks no allocator then, and this one rounds.
        if (rounds_heads(GetParam())) continue;
        EXPECT_EQ(kept, layers * heads * shape.rows);
      } else if (rounds_heads(GetParam())) {
        expect_rounded(kept, layers * heads, budget);
      } else if (is_pyramid(GetParam())) {
        // Its step is rounded down, and no layer goes below its protected rows.
        EXPECT_LE(2 * kept,
                  heads * layers *
                      (2 * budget + (layers > 2 ? layers - 2 : 0) + 2 * std::size_t{kSinks}));
        EXPECT_GE(kept, heads * layers * std::min(budget, kProtected));
      } else {
        EXPECT_EQ(kept, layers * heads * budget);
      }
    }
  }
}

// Allocators that divide even then are never asked by the engine.
class Fitting : public Conformance {};
bool divides_what_fits(const Pair& pair) { return is_pyramid(pair) || rounds_heads(pair); }

TEST_P(Fitting, KeepsEverything) {
  const TestLayer layer = TestLayer::random(shapes()[1], 12);
  for (const std::size_t budget : {shapes()[1].rows, shapes()[1].rows + 7}) {
    EXPECT_EQ(total(keep_of(GetParam(), layer.observation(), {.budget = budget})),
              2 * shapes()[1].rows);
  }
}

TEST_P(Conformance, ProtectsWhatThePublicationProtects) {
  const TestLayer layer = TestLayer::random(shapes()[1], 13);
  const Protection& paper = find_policy(GetParam().policy)->paper_protection;
  const Choice choice{.protect = Protect::kPaper};
  expect_sound(keep_of(GetParam(), layer.observation(), choice), layer.observation(), paper.sinks,
               paper.window ? kWindow : 0);
}

TEST_P(Conformance, DoesNotDependOnTheNumberOfThreads) {
  for (const LayerShape& shape : shapes()) {
    const TestLayer layer = TestLayer::random(shape, 14);
    const auto variant = variant_of(GetParam(), {});
    const LayerScores one =
        score_layer(*variant, layer.observation(), 24, best_table(), Threads(1));
    for (const int threads : {2, 3, 7}) {
      EXPECT_EQ(score_layer(*variant, layer.observation(), 24, best_table(), Threads(threads)),
                one);
      EXPECT_EQ(keep_of(GetParam(), layer.observation(), {.threads = threads}),
                keep_of(GetParam(), layer.observation(), {}));
    }
  }
}

// Keys of few whole numbers: many scores tie, and every product is exact. Attention is then a power
// of the same few logits in every table.
TEST_P(Conformance, KeepsTheSameUnderEveryKernelTable) {
  LayerShape shape{.n_head = 4, .n_kv_head = 2, .head_dim = 16, .hidden = 16, .rows = 100};
  const TestLayer layer = TestLayer::integers(shape, 2, 15);
  const KeepSets wanted = keep_of(GetParam(), layer.observation(), {});
  for (const KernelTable* table : all_tables()) {
    EXPECT_EQ(keep_of(GetParam(), layer.observation(), {.kernels = table}), wanted) << table->name;
  }
}

// Where the place of a row is part of its score, equal rows are no ties.
struct ByPlace {
  std::string_view policy;
  std::string_view why;
};
constexpr ByPlace kByPlace[] = {
    {"chunkkv", "a chunk at an edge is pooled with zeros"},
    {"lacache", "by position alone"},
    {"lagkv", "a prompt below two parts keeps the newest"},
    {"observed-attention", "divides by what position says"},
    {"random", "by lot"},
    {"streaming-llm", "by position alone"},
};
bool scores_by_place(std::string_view policy) {
  return std::ranges::find(kByPlace, policy, &ByPlace::policy) != std::end(kByPlace);
}
// One allocator is enough: a tie is the policy's.
class Ties : public Conformance {};
bool may_tie(const Pair& pair) {
  return pair.allocator == "uniform" && !find_policy(pair.policy)->keeps_all &&
         !scores_by_place(pair.policy);
}

TEST(ScoresByPlace, NamePoliciesThatAreThere) {
  for (const ByPlace& one : kByPlace) EXPECT_NE(find_policy(one.policy), nullptr) << one.policy;
}

// All keys and values are 0 and all queries alike: nothing tells the past rows apart but their
// place.
TEST_P(Ties, AreBrokenByPosition) {
  const std::string& policy = GetParam().policy;
  TestLayer layer({.rows = 60});
  layer.seal();
  // Average pooling with zeros beyond the edges lowers both ends, which are no ties.
  const Pair pair{policy, "uniform"};
  for (const auto& head : keep_of(pair, layer.observation(), {.budget = 30})) {
    std::vector<std::uint32_t> wanted(30);
    std::iota(wanted.begin(), wanted.begin() + 22, 0U);
    std::iota(wanted.begin() + 22, wanted.end(), 52U);
    EXPECT_EQ(head, wanted);
  }
}

// From one past token to one more than the window, under a budget of one row more than the
// protected ones, or of all but one.
TEST_P(Conformance, HandlesFewPastTokens) {
  for (std::size_t past = 1; past <= kWindow + 1; ++past) {
    LayerShape shape = shapes()[1];
    shape.rows = kWindow + past;
    const TestLayer layer = TestLayer::random(shape, 16);
    const std::size_t budget = std::max(shape.rows - 1, kProtected);
    const KeepSets keep = keep_of(GetParam(), layer.observation(), {.budget = budget});
    expect_sound(keep, layer.observation(), kSinks, kWindow);
    if (is_pyramid(GetParam()) || keeps_all()) continue;
    if (rounds_heads(GetParam())) {
      expect_rounded(total(keep), 2, std::min(budget, shape.rows));
    } else {
      EXPECT_EQ(total(keep), 2 * std::min(budget, shape.rows));
    }
  }
}

// A continued sequence: heads hold different rows, and the turn is shorter than the window.
TEST_P(Conformance, HandlesRaggedHeadsAndShortTurns) {
  for (const std::size_t queries : {1U, 3U, 8U}) {
    LayerShape shape = shapes()[1];
    shape.queries = queries;
    TestLayer layer = TestLayer::random(shape, 17);
    std::vector<Position> sparse = {0, 1, 2, 3};
    for (Position p = 10; p < 120; p += p < 112 ? 7 : 1) sparse.push_back(p);
    layer.keep_positions(1, sparse);
    const KeepSets keep = keep_of(GetParam(), layer.observation(), {});
    expect_sound(keep, layer.observation(), kSinks, kWindow);
    if (keeps_all()) continue;
    const std::size_t held = 120 + sparse.size();
    if (GetParam().allocator == "uniform") {
      EXPECT_EQ(keep[0].size(), 24U);
      EXPECT_EQ(keep[1].size(), std::min<std::size_t>(24, sparse.size()));
    } else if (rounds_heads(GetParam())) {
      EXPECT_LE(total(keep), std::min<std::size_t>(49, held));  // half a row a head more
    } else if (!is_pyramid(GetParam())) {
      EXPECT_EQ(total(keep), std::min<std::size_t>(48, held));
    }
  }
}

std::vector<Pair> pairs_where(bool (*fits)(const Pair&)) {
  std::vector<Pair> pairs = all_pairs();
  std::erase_if(pairs, [fits](const Pair& pair) { return !fits(pair); });
  return pairs;
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(all_pairs()), name_of);
INSTANTIATE_TEST_SUITE_P(All, Fitting, testing::ValuesIn(pairs_where([](const Pair& pair) {
                           return !divides_what_fits(pair);
                         })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, Ties, testing::ValuesIn(pairs_where(may_tie)), name_of);

// Names are what users write; the tables are sorted and complete.
template <typename Info>
void expect_sorted(std::span<const Info* const> table) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    EXPECT_FALSE(table[i]->summary.empty()) << table[i]->name;
    EXPECT_FALSE(table[i]->paper.empty()) << table[i]->name;
    if (i > 0) {
      EXPECT_LT(table[i - 1]->name, table[i]->name);
    }
    for (const ParamInfo& param : table[i]->params) {
      const ParamValues::Assignment written(param.name, param.default_value);
      EXPECT_TRUE(ParamValues::parse(table[i]->name, table[i]->params, {&written, 1}).ok())
          << table[i]->name << ": the default of " << param.name << " is out of its own range";
    }
  }
}
TEST(Tables, AreSortedAndDescribed) {
  expect_sorted(all_policies());
  expect_sorted(all_allocators());
  EXPECT_EQ(find_policy("none-of-that-name"), nullptr);
  EXPECT_EQ(find_allocator("none-of-that-name"), nullptr);
}

}  // namespace
}  // namespace restkv
