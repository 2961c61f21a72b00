// Bytes and rows that are held: during a prefill, after it, while decoding.

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 300;

KvOptions streaming(double budget) {
  KvOptions options;
  options.policy = "streaming-llm";
  options.budget.amount = budget;
  options.window = 8;
  return options;
}

// Keys, values and positions of all rows of one layer, as a prefill holds them.
std::size_t layer_bytes(const RandomModel& model, std::size_t rows) {
  const auto dim = static_cast<std::size_t>(model.head_dim);
  return rows * static_cast<std::size_t>(model.n_kv_head) *
         (2 * kv_row_bytes(KvType::kF16, dim) + sizeof(Position));
}

class Memory : public testing::TestWithParam<RandomModel> {};

TEST_P(Memory, ThePeakIsOneLayerInFullAndWhatIsKept) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 1);
  for (const KvOptions& options : {streaming(32), full_cache(KvType::kF16)}) {
    ASSERT_EQ(engine->cache_bytes(), 0U);
    engine->reset_cache_peak();
    auto run = engine.prefill(tokens, options);
    const KvReport report = run.sequence.report();
    EXPECT_EQ(report.bytes_peak, engine->cache_bytes_peak());
    EXPECT_EQ(engine->cache_bytes(), run.sequence.bytes());
    EXPECT_EQ(report.bytes, run.sequence.bytes());
    const std::size_t limit = layer_bytes(GetParam(), kTokens) + report.bytes;
    EXPECT_LE(report.bytes_peak, limit + limit / 20);
    EXPECT_GE(report.bytes_peak, limit - limit / 20);
    if (options.policy == "full") {
      EXPECT_EQ(report.bytes, report.bytes_full);
    }
  }
  EXPECT_EQ(engine->cache_bytes(), 0U);
}

// Where all layers compete, the first may hold all of the pool while the next is read, but there is
// never more than the pool, its scores, and one layer.
TEST_P(Memory, WhereLayersCompeteThePeakIsThePoolAndOneLayer) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 6);
  for (const double budget : {32.0, 150.0}) {
    KvOptions options = streaming(budget);
    options.policy = "keydiff";
    options.allocator = "global";
    engine->reset_cache_peak();
    auto run = engine.prefill(tokens, options);
    const KvReport report = run.sequence.report();
    EXPECT_EQ(report.bytes_peak, engine->cache_bytes_peak());
    EXPECT_EQ(report.bytes, run.sequence.bytes());
    EXPECT_EQ(engine->cache_bytes(), run.sequence.bytes()) << "no scores are left";
    const RandomModel& model = GetParam();
    const auto heads = static_cast<std::size_t>(model.n_layer * model.n_kv_head);
    const std::size_t row = layer_bytes({.n_kv_head = 1, .head_dim = model.head_dim}, 1);
    const auto pool = static_cast<std::size_t>(budget) * heads;
    // At the worst every head's last page holds one row.
    EXPECT_LE(report.bytes_peak,
              layer_bytes(model, kTokens) + pool * (row + sizeof(float)) + heads * 15 * row);
    (void)engine.extend(run.sequence, std::span(tokens).first(40));
    EXPECT_EQ(engine->cache_bytes(), run.sequence.bytes());
    run = engine.prefill(tokens, options);
    engine->reset_cache_peak();
    (void)engine.extend(run.sequence, std::span(tokens).first(90));
    EXPECT_EQ(run.sequence.report().bytes_peak, engine->cache_bytes_peak());
  }
}

TEST_P(Memory, ThePeakOfATurnCountsWhatIsHeldUntilItSucceeds) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 2);
  KvOptions in_pieces = streaming(48);
  in_pieces.schedule = Schedule::parse("chunk:40").value();
  for (const KvOptions& options :
       {streaming(48), streaming(2000), full_cache(KvType::kF16), in_pieces}) {
    auto run = engine.prefill(std::span(tokens).first(200), options);
    engine->reset_cache_peak();
    (void)engine.extend(run.sequence, std::span(tokens).subspan(200));
    EXPECT_EQ(run.sequence.report().bytes_peak, engine->cache_bytes_peak());
    EXPECT_EQ(engine->cache_bytes(), run.sequence.bytes());
  }
}

TEST_P(Memory, ForksShareUntilTheyWrite) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 3);
  auto run = engine.prefill(tokens, full_cache(KvType::kF16));
  const std::size_t alone = engine->cache_bytes();
  Sequence child = run.sequence.fork();
  EXPECT_EQ(engine->cache_bytes(), alone);
  (void)engine.decode(child, std::span(tokens).first(1));
  const auto heads =
      static_cast<std::size_t>(GetParam().n_layer) * static_cast<std::size_t>(GetParam().n_kv_head);
  const std::size_t page = layer_bytes({.n_kv_head = 1, .head_dim = GetParam().head_dim}, 16);
  EXPECT_LE(engine->cache_bytes(), alone + heads * page);
}

TEST_P(Memory, SlidingLayersHoldNothingOutsideTheWindow) {
  const int window = GetParam().sliding_window;
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(kTokens, GetParam().n_vocab, 4);
  const auto check = [&](const Sequence& sequence, const char* when) {
    const KeptPositions kept = sequence.kept_positions();
    const Position end = sequence.next_position();
    std::size_t sliding = 0;
    for (std::size_t layer = 0; layer < kept.size(); ++layer) {
      for (const std::vector<Position>& positions : kept[layer]) {
        ASSERT_EQ(positions.back(), end - 1) << when;
        if (positions.front() == 0) continue;
        ++sliding;
        EXPECT_EQ(positions.front(), end - window) << when << ", layer " << layer;
        EXPECT_EQ(positions.size(), static_cast<std::size_t>(window)) << when;
      }
    }
    EXPECT_EQ(sliding > 0, window > 0);
  };
  // Budgets above the window: a sliding layer is never over it.
  for (const KvOptions& options : {full_cache(KvType::kF16), streaming(64)}) {
    auto run = engine.prefill(tokens, options);
    check(run.sequence, "after the prefill");
    for (std::size_t step = 0; step < 40; ++step) {
      (void)engine.decode(run.sequence, std::span(tokens).subspan(step, 1));
      check(run.sequence, "while decoding");
    }
    (void)engine.extend(run.sequence, std::span(tokens).first(3));
    check(run.sequence, "after a short turn");
    (void)engine.extend(run.sequence, std::span(tokens).first(90));
    check(run.sequence, "after a long turn");
  }
}

TEST(MemoryReport, AFullCacheOfSlidingLayersIsCountedByTheWindow) {
  const RandomModel model = random_gemma2();  // layers 0 and 2 slide over 24 rows: 2 pages
  TestEngine engine(model);
  auto run = engine.prefill(random_tokens(kTokens, model.n_vocab, 5), full_cache(KvType::kF16));
  const std::size_t page = layer_bytes({.n_kv_head = 1, .head_dim = model.head_dim}, 16);
  EXPECT_EQ(run.sequence.report().bytes_full, page * 2 * (2 + 19) * 2);
}

INSTANTIATE_TEST_SUITE_P(Families, Memory,
                         testing::Values(random_llama(), random_gemma2(), random_gemma3()),
                         family_name);

}  // namespace
}  // namespace restkv
