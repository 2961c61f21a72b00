// Sparse prefill in the engine: full density is dense bit for bit, the last queries are always
// dense, chunks and threads change nothing, and the report says what was done.

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 700;
constexpr double kF32Limit = 1e-10;

// With sizes at which a short prompt leaves much out.
PrefillAttention tri_shape() {
  return {.pattern = "tri-shape", .options = {{"init", "16"}, {"local", "130"}, {"last", "0"}}};
}
PrefillAttention vertical_slash() {
  return {.pattern = "vertical-slash", .options = {{"vertical", "60"}, {"slash", "110"}}};
}
PrefillAttention xattention() {
  return {.pattern = "xattention", .options = {{"threshold", "0.3"}}};
}
std::vector<PrefillAttention> sparse_patterns() {
  return {tri_shape(), vertical_slash(), xattention()};
}

RandomModel one_layer() {
  RandomModel model = random_llama();
  model.n_layer = 1;
  return model;
}

EngineOptions with_chunk(std::size_t chunk, int threads = 1) {
  EngineOptions options = TestEngine::default_options();
  options.chunk = chunk;
  options.n_threads = threads;
  return options;
}

struct Read {
  std::vector<float> logits;  // of every position
  KvReport report;
};
Read prefill_with(TestEngine& engine, const PrefillAttention& attention,
                  const KvOptions& variant = full_cache(), std::size_t n = kTokens) {
  const auto tokens = random_tokens(n, engine->model().n_vocab, 1);
  Read result;
  PrefillOptions options;
  options.attention = attention;
  options.on_logits = [&](std::size_t /*first*/, View2<const float> logits) {
    result.logits.insert(result.logits.end(), logits.data, logits.data + logits.rows * logits.cols);
  };
  std::vector<float> last;
  auto made = engine->prefill(tokens, {&variant, 1}, options, last);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  if (made.ok()) result.report = made->front().report();
  return result;
}

// Positions whose logits have the same bits.
std::vector<bool> same_positions(const Read& a, const Read& b, std::size_t n_vocab) {
  std::vector<bool> same;
  for (std::size_t at = 0; at < a.logits.size(); at += n_vocab) {
    const auto first = a.logits.begin() + static_cast<std::ptrdiff_t>(at);
    same.push_back(std::equal(first, first + static_cast<std::ptrdiff_t>(n_vocab),
                              b.logits.begin() + static_cast<std::ptrdiff_t>(at)));
  }
  return same;
}

TEST(SparsePrefill, AtFullDensityIsDenseBitForBit) {
  TestEngine engine(random_qwen2(), with_chunk(256));
  const Read dense = prefill_with(engine, {});
  EXPECT_EQ(dense.report.prefill.pattern, "dense");
  EXPECT_EQ(dense.report.prefill.layer_density, std::vector<double>(3, 1.0));
  const PrefillAttention everything[] = {
      {.pattern = "xattention", .options = {{"threshold", "1"}}},
      {.pattern = "tri-shape", .options = {{"init", "1"}, {"local", std::to_string(kTokens - 2)}}},
      // 31 diagonals are not chosen, and a row lies on 64 of those that a block of queries sees.
      {.pattern = "vertical-slash",
       .options = {{"vertical", "30"}, {"slash", std::to_string(kTokens - 31)}}},
  };
  for (const PrefillAttention& attention : everything) {
    const Read full = prefill_with(engine, attention);
    EXPECT_EQ(full.logits, dense.logits) << attention.pattern;
    EXPECT_EQ(full.report.prefill.dense_because, "");
    EXPECT_EQ(full.report.prefill.layer_density, std::vector<double>(3, 1.0)) << attention.pattern;
  }
}

// In a model of one layer the dense tail has dense attention's bits, and queries before it do not.
TEST(SparsePrefill, TheLastQueriesAreDense) {
  TestEngine engine(one_layer(), with_chunk(256));
  const Read dense = prefill_with(engine, {});
  for (const int window : {8, 100}) {
    KvOptions variant = full_cache();
    variant.window = window;
    const std::size_t tail = std::max(64, window);
    for (const PrefillAttention& attention : sparse_patterns()) {
      SCOPED_TRACE(attention.pattern);
      const Read sparse = prefill_with(engine, attention, variant);
      const std::vector<bool> same = same_positions(sparse, dense, 100);
      ASSERT_EQ(same.size(), kTokens);
      EXPECT_TRUE(std::all_of(same.end() - static_cast<std::ptrdiff_t>(tail), same.end(),
                              [](bool one) { return one; }));
      EXPECT_TRUE(std::all_of(same.begin(), same.begin() + 64, [](bool one) { return one; }));
      const std::size_t dense_from = (kTokens - tail) / 64 * 64;
      EXPECT_FALSE(same[dense_from - 1]);
      const std::vector<double>& density = sparse.report.prefill.layer_density;
      ASSERT_EQ(density.size(), 1U);
      EXPECT_LT(density.front(), 1.0);
      EXPECT_GT(density.front(), 0.1);
    }
  }
}

// Rows counted by hand: 16 + 130 + 63 rows for a block, as far as there are so many.
TEST(SparsePrefill, ReportsTheDensity) {
  TestEngine engine(one_layer(), with_chunk(256));
  const Read sparse = prefill_with(engine, tri_shape());
  double read_rows = 0;
  double all_rows = 0;
  for (std::size_t block = 0; block < kTokens; block += 64) {
    const std::size_t end = std::min(block + 64, kTokens);
    const bool tail = block >= (kTokens - 64) / 64 * 64;
    all_rows += static_cast<double>(end);
    read_rows += static_cast<double>(tail ? end : std::min<std::size_t>(end, 16 + 129 + 64));
  }
  EXPECT_DOUBLE_EQ(sparse.report.prefill.layer_density.front(), read_rows / all_rows);
}

TEST(SparsePrefill, ChunksAndThreadsChangeNothing) {
  for (const PrefillAttention& attention : sparse_patterns()) {
    SCOPED_TRACE(attention.pattern);
    TestEngine whole(random_llama(), with_chunk(100'000));
    const Read expected = prefill_with(whole, attention);
    for (const std::size_t chunk : {1, 128, 300}) {
      TestEngine engine(random_llama(), with_chunk(chunk));
      const Read chunked = prefill_with(engine, attention);
      EXPECT_LE(mean_square_error(chunked.logits, expected.logits), kF32Limit) << chunk;
      EXPECT_EQ(chunked.report.prefill.layer_density, expected.report.prefill.layer_density);
    }
    TestEngine threads(random_llama(), with_chunk(256, 3));
    TestEngine one(random_llama(), with_chunk(256, 1));
    EXPECT_EQ(prefill_with(threads, attention).logits, prefill_with(one, attention).logits);
  }
}

// Without logits of every position the last layer reads one row, which is dense.
TEST(SparsePrefill, TheLastLayerNeedsNoPattern) {
  TestEngine engine(random_llama(), with_chunk(256));
  const auto tokens = random_tokens(kTokens, 100, 1);
  const Read all = prefill_with(engine, xattention());
  PrefillOptions options;
  options.attention = xattention();
  const KvOptions variant = full_cache();
  std::vector<float> last;
  const auto made = engine->prefill(tokens, {&variant, 1}, options, last);
  ASSERT_TRUE(made.ok());
  EXPECT_LE(mean_square_error(last, std::span(all.logits).last(100)), kF32Limit);
  const std::vector<double> density = made->front().report().prefill.layer_density;
  ASSERT_EQ(density.size(), 3U);
  EXPECT_LT(density[0], 1.0);
  EXPECT_LT(density[1], 1.0);
  EXPECT_EQ(density[2], 1.0);
}

TEST(SparsePrefill, LayersWithASlidingWindowAreDense) {
  RandomModel model = random_gemma2();
  TestEngine engine(model, with_chunk(256));
  const KvReport report = prefill_with(engine, xattention()).report;
  const std::vector<double>& density = report.prefill.layer_density;
  ASSERT_EQ(density.size(), static_cast<std::size_t>(model.n_layer));
  EXPECT_EQ(density[0], 1.0);
  EXPECT_LT(density[1], 1.0);
}

TEST(SparsePrefill, SaysWhyAPromptIsReadDensely) {
  TestEngine engine(random_llama());
  for (const char* pattern : {"tri-shape", "vertical-slash"}) {
    const Read sparse = prefill_with(engine, {.pattern = pattern, .options = {}});
    EXPECT_EQ(sparse.logits, prefill_with(engine, {}).logits);
    EXPECT_EQ(sparse.report.prefill.pattern, pattern);
    EXPECT_NE(sparse.report.prefill.dense_because.find(
                  std::string(pattern) == "tri-shape" ? "4096" : "7096"),
              std::string::npos)
        << sparse.report.prefill.dense_because;
    EXPECT_EQ(sparse.report.prefill.layer_density, std::vector<double>(3, 1.0));
  }
  KvOptions variant = full_cache();
  variant.window = 690;
  EXPECT_NE(prefill_with(engine, xattention(), variant).report.prefill.dense_because.find("690"),
            std::string::npos);

  auto first = engine.prefill(random_tokens(20, 100, 3), full_cache());
  PrefillOptions options;
  options.attention = xattention();
  std::vector<float> last;
  ASSERT_TRUE(engine->extend(first.sequence, random_tokens(500, 100, 4), options, last).ok());
  EXPECT_NE(first.sequence.report().prefill.dense_because.find("later turn"), std::string::npos);
}

TEST(SparsePrefill, ComposesWithEviction) {
  TestEngine engine(random_llama(), with_chunk(256));
  for (const char* policy : {"rest-kv", "snapkv", "h2o", "streaming-llm"}) {
    KvOptions variant;
    variant.policy = policy;
    variant.budget.amount = 100;
    for (const PrefillAttention& attention : sparse_patterns()) {
      const KvReport report = prefill_with(engine, attention, variant).report;
      EXPECT_EQ(report.kept_tokens_max, 100U) << policy << " " << attention.pattern;
      EXPECT_LT(report.prefill.layer_density.front(), 1.0);
    }
  }
}

TEST(SparsePrefill, RefusesWhatItDoesNotKnow) {
  TestEngine engine(random_llama());
  const auto tokens = random_tokens(10, 100, 1);
  const KvOptions variant = full_cache();
  const PrefillAttention wrong[] = {{.pattern = "triangle", .options = {}},
                                    {.pattern = "dense", .options = {{"block", "64"}}},
                                    {.pattern = "xattention", .options = {{"block", "100"}}},
                                    {.pattern = "vertical-slash", .options = {{"slash", "99"}}}};
  for (const PrefillAttention& attention : wrong) {
    PrefillOptions options;
    options.attention = attention;
    std::vector<float> last;
    const auto made = engine->prefill(tokens, {&variant, 1}, options, last);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(check_prefill_attention(attention).ok());
  }
}

}  // namespace
}  // namespace restkv
