// What the published forms of an allocator come to in a cache: rows by layer against tables worked
// by hand, and reports that say what is there where a form misses the budget.

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "cache/kv_cache.h"
#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kLayers = 6;
constexpr std::size_t kHeads = 4;
constexpr int kHeadDim = 32;

RandomModel small_model() {
  RandomModel model{.n_layer = static_cast<int>(kLayers), .n_embd = 32, .n_ff = 32};
  model.n_head = static_cast<int>(kHeads);
  model.n_kv_head = static_cast<int>(kHeads);
  model.head_dim = kHeadDim;
  return model;
}

// Nothing is protected: the rows are what the allocator says.
KvOptions options_of(const std::string& allocator, double budget) {
  NamedParams named = parse_named_params(allocator).value();
  KvOptions options;
  options.policy = "knorm";
  options.protect = Protect::kPaper;
  options.allocator = named.name;
  options.allocator_options = named.assignments;
  options.budget.amount = budget;
  options.window = 8;
  return options;
}

// Rows of every head of every layer, all of which reports and bytes agree with.
std::vector<std::vector<std::size_t>> kept_of(TestEngine& engine, const KvOptions& options,
                                              std::size_t n_token) {
  const auto text = random_tokens(n_token, engine->model().n_vocab, 3);
  const auto run = engine.prefill(text, options);
  std::vector<std::vector<std::size_t>> rows;
  std::size_t all = 0;
  std::size_t pages = 0;
  for (const auto& layer : run.sequence.kept_positions()) {
    std::vector<std::size_t>& heads = rows.emplace_back();
    for (const std::vector<Position>& held : layer) {
      heads.push_back(held.size());
      all += held.size();
      pages += pages_for_rows(held.size());
    }
  }
  EXPECT_EQ(run.sequence.rows(), all);
  EXPECT_DOUBLE_EQ(run.sequence.report().kept_tokens_mean * double{kLayers * kHeads},
                   static_cast<double>(all));
  const std::size_t page = page_bytes({.n_layer = static_cast<int>(kLayers),
                                       .n_kv_head = static_cast<int>(kHeads),
                                       .head_dim = kHeadDim,
                                       .sliding_window = {}});
  EXPECT_EQ(run.sequence.report().bytes, pages * page);
  EXPECT_EQ(engine->cache_bytes(), pages * page);
  return rows;
}

struct Table {
  const char* allocator;
  double budget;
  std::size_t n_token;
  std::vector<std::size_t> rows;  // of a head of each layer
};

TEST(AllocatorForms, APyramidIsItsTable) {
  TestEngine engine(small_model());
  const std::vector<Table> tables = {
      // 56 beside the window: from 110 to 2 in steps of 108 / 5, rounded down.
      {"pyramid", 64, 300, {118, 97, 76, 55, 34, 13}},
      {"pyramid:form=restkv", 64, 300, {118, 97, 76, 55, 34, 13}},
      // There are 92: from 92 to 20, or even as 100 tokens are less than twice 56.
      {"pyramid", 64, 100, {64, 64, 64, 64, 64, 64}},
      {"pyramid:form=restkv", 64, 100, {100, 86, 72, 58, 44, 30}},
      // From 312 to 8, each rounded; of 64 the last would have 3.2, less than the window.
      {"pyramid:form=kvpress", 160, 400, {312, 251, 190, 130, 69, 8}},
      {"pyramid:form=kvpress", 64, 300, {64, 64, 64, 64, 64, 64}},
  };
  for (const Table& table : tables) {
    SCOPED_TRACE(std::string(table.allocator) + " of " + std::to_string(table.n_token));
    const auto kept = kept_of(engine, options_of(table.allocator, table.budget), table.n_token);
    ASSERT_EQ(kept.size(), table.rows.size());
    for (std::size_t layer = 0; layer < kept.size(); ++layer) {
      EXPECT_EQ(kept[layer], std::vector<std::size_t>(kHeads, table.rows[layer])) << layer;
    }
  }
}

// All layers together: no less than the budget, and as much more as steps are rounded.
TEST(AllocatorForms, APyramidIsAtLeastItsBudget) {
  TestEngine engine(small_model());
  bool above = false;
  for (const std::size_t budget : {20U, 33U, 64U, 108U, 128U}) {
    for (const char* allocator : {"pyramid", "pyramid:form=restkv", "pyramid:form=kvpress"}) {
      SCOPED_TRACE(std::string(allocator) + " " + std::to_string(budget));
      const KvOptions options = options_of(allocator, static_cast<double>(budget));
      std::size_t rows = 0;
      for (const auto& layer : kept_of(engine, options, 300)) rows += layer.front();
      EXPECT_GE(rows, kLayers * budget);
      const bool is_exact =
          options.allocator_options == std::vector<ParamValues::Assignment>{{"form", "kvpress"}};
      EXPECT_LE(rows, kLayers * budget + (is_exact ? 0 : kLayers * (kLayers - 2) / 2));
      above |= rows > kLayers * budget;
    }
  }
  EXPECT_TRUE(above);
}

// Half a row a head above the budget, or one and a half below.
TEST(AllocatorForms, AdaOfItsAuthorsMissesTheBudgetByRounding) {
  TestEngine engine(small_model());
  bool missed = false;
  for (const std::size_t budget : {20U, 33U, 64U, 107U}) {
    for (const char* allocator : {"ada", "ada:form=ffy0", "ada:form=ffy0:normalize=on"}) {
      SCOPED_TRACE(std::string(allocator) + " " + std::to_string(budget));
      KvOptions options = options_of(allocator, static_cast<double>(budget));
      options.policy = "snapkv";
      for (const auto& layer : kept_of(engine, options, 300)) {
        const std::size_t rows = std::accumulate(layer.begin(), layer.end(), std::size_t{0});
        if (options.allocator_options.empty()) {
          EXPECT_EQ(rows, kHeads * budget);
          continue;
        }
        EXPECT_LE(2 * rows, kHeads * (2 * budget + 1));
        EXPECT_GE(2 * rows + 3 * kHeads, kHeads * 2 * budget);
        missed |= rows != kHeads * budget;
      }
    }
  }
  EXPECT_TRUE(missed);
}

}  // namespace
}  // namespace restkv
