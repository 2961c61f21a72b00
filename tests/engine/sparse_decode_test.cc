// Decode that reads a part of the cache: which pages are read, against plain loops in f64; and what
// must not change, bit for bit.

#include "engine/sparse_decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kDim = 64;
constexpr std::size_t kGroup = 2;
constexpr int kHeads = 2;
constexpr int kLayers = 3;

KvOptions with_decode(const std::string& method, std::vector<ParamValues::Assignment> options,
                      double budget) {
  KvOptions kv = full_cache(KvType::kF16);
  kv.decode.method = method;
  kv.decode.method_options = std::move(options);
  kv.decode.budget = Budget{.unit = Budget::Unit::kTokens, .amount = budget};
  return kv;
}

std::vector<KvOptions> all_sparse(double budget) {
  std::vector<KvOptions> all;
  for (const DecodeMethodInfo* method : all_decode_methods()) {
    if (method->plan == nullptr) continue;
    all.push_back(
        with_decode(std::string(method->name), {{"dense-layers", "0"}, {"block", "16"}}, budget));
  }
  EXPECT_GE(all.size(), 3U);
  return all;
}

// An engine's state and one sequence whose cache holds made-up rows, as many as each head wants.
class MadeUpCache {
 public:
  MadeUpCache(const KvOptions& options, std::vector<std::size_t> rows) : file_(random_llama()) {
    auto file = GgufFile::open(file_.path(), {});
    EXPECT_TRUE(file.ok());
    engine_.model = *Model::load(*file, {});
    engine_.kernels = &best_table();
    engine_.threads = Threads(2);
    auto variant = Variant::make(options);
    EXPECT_TRUE(variant.ok()) << variant.error().message;
    KvCache cache(engine_.cache_shape(**variant), engine_.counter);
    sequence_ = std::make_unique<Sequence::State>(
        Sequence::State{.variant = *variant, .cache = std::move(cache), .report = {}});
    LayerRows source({.n_kv_head = kHeads, .head_dim = static_cast<int>(kDim)}, *engine_.counter);
    for (int layer = 0; layer < kLayers; ++layer) {
      EXPECT_TRUE(source.reset(rows).ok());
      for (int h = 0; h < kHeads; ++h) {
        const std::size_t n = rows[static_cast<std::size_t>(h)];
        for (std::size_t i = 0; i < n; ++i) {
          source.append(*engine_.kernels, h, static_cast<Position>(3 * i), row().data(),
                        row().data(), 0);
        }
        std::vector<std::uint32_t> all(n);
        for (std::uint32_t i = 0; i < n; ++i) all[i] = i;
        EXPECT_TRUE(sequence_->cache.store(*engine_.kernels, layer, h, source, all).ok());
      }
    }
    sequence_->next_position = 100'000;
  }

  void grow() {
    const Position position = sequence_->next_position++;
    EXPECT_TRUE(sequence_->cache.reserve_row(position).ok());
    for (int layer = 0; layer < kLayers; ++layer) {
      for (int h = 0; h < kHeads; ++h) {
        sequence_->cache.append(*engine_.kernels, layer, h, position, row().data(), row().data());
      }
    }
  }
  std::vector<float> row() {
    std::vector<float> row(kDim);
    for (float& x : row) x = normal_(random_);
    return row;
  }
  // Numbers of the pages that a head reads for these queries.
  std::vector<std::size_t> pages_read(int layer, std::size_t head, const std::vector<float>& q) {
    KvCache::HeadPages pages;
    sequence_->cache.pages(layer, static_cast<int>(head), pages);
    const std::uint32_t rows_of_last = pages.pages.back().rows;
    std::map<const std::byte*, std::size_t> numbers;
    for (std::size_t i = 0; i < pages.pages.size(); ++i) numbers[pages.pages[i].keys] = i;
    Sequence::State* const one = sequence_.get();
    SparseReads reads(engine_, {&one, 1});
    const HeadRead read{.sequence = 0, .head = head, .q = q.data(), .pages = &pages};
    // From a list of all pages, and from none: the same.
    std::vector<std::size_t> found[2];
    for (std::vector<std::size_t>& numbers_found : found) {
      reads.plan(layer, {&read, 1});
      if (!reads.narrows(0)) sequence_->cache.pages(layer, static_cast<int>(head), pages);
      reads.narrow();
      for (const PageView& page : pages.pages) numbers_found.push_back(numbers.at(page.keys));
      EXPECT_EQ(pages.pages.back().rows, rows_of_last) << "the last page";
      pages.pages.clear();
    }
    EXPECT_EQ(found[0], found[1]);
    return found[0];
  }
  // Keys of a head as stored: [rows, kDim].
  std::vector<float> keys(int layer, int head) {
    KvCache::HeadPages pages;
    sequence_->cache.pages(layer, head, pages);
    std::vector<float> keys;
    for (const PageView& page : pages.pages) {
      for (std::size_t i = 0; i < page.rows; ++i) {
        std::vector<float> key(kDim);
        const KvType type = sequence_->cache.shape().type_k;
        engine_.kernels->decode_row(type, page.keys + i * kv_row_bytes(type, kDim), key.data(),
                                    kDim);
        keys.insert(keys.end(), key.begin(), key.end());
      }
    }
    return keys;
  }
  Sequence::State& sequence() { return *sequence_; }

 private:
  TestEngine file_;  // owns the model's file
  Engine::State engine_;
  std::unique_ptr<Sequence::State> sequence_;
  std::mt19937 random_{5};
  std::normal_distribution<float> normal_;
};

// What a block promises the best (Quest, AB-Sparse) or the average (ArkVale) query head, in f64.
double plain_score(const SelectionPlan& plan, std::span<const float> keys,
                   std::span<const float> q) {
  const std::size_t n = keys.size() / kDim;
  double best = -std::numeric_limits<double>::infinity();
  double sum = 0;
  for (std::size_t g = 0; g < kGroup; ++g) {
    double one = 0;
    for (std::size_t d = 0; d < kDim; ++d) {
      double low = 1e30;
      double high = -1e30;
      for (std::size_t i = 0; i < n; ++i) {
        low = std::min(low, double(keys[i * kDim + d]));
        high = std::max(high, double(keys[i * kDim + d]));
      }
      if (plan.box == BoxKind::kCentred) {
        const double centre = (low + high) / 2;
        double mean = 0;
        for (std::size_t i = 0; i < n; ++i) mean += std::abs(double(keys[i * kDim + d]) - centre);
        low = centre - mean / static_cast<double>(n);
        high = centre + mean / static_cast<double>(n);
      }
      const double x = q[g * kDim + d];
      one += std::max(x * low, x * high);
    }
    best = std::max(best, one);
    sum += one;
  }
  return plan.merge == HeadMerge::kMax ? best : sum / kGroup;
}

// The pages are whole blocks, the ends are there, the number is right, and no block that was left
// is better than one that was taken (by more than the summaries' rounding).
void expect_right_pages(MadeUpCache& cache, int layer, std::size_t head, std::size_t budget,
                        double rounding) {
  const SelectionPlan& plan = *cache.sequence().variant->selection();
  const std::size_t b = cache.sequence().variant->block_rows(static_cast<std::size_t>(layer), head);
  std::vector<float> q = cache.row();
  const std::vector<float> other = cache.row();
  q.insert(q.end(), other.begin(), other.end());
  const std::vector<float> keys = cache.keys(layer, static_cast<int>(head));
  const std::size_t rows = keys.size() / kDim;
  const std::size_t n_block = (rows + b - 1) / b;
  const auto pages = cache.pages_read(layer, head, q);

  std::vector<std::size_t> blocks;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const std::size_t block = pages[i] * kPageRows / b;
    if (blocks.empty() || blocks.back() != block) {
      ASSERT_EQ(pages[i] * kPageRows % b, 0U) << "begins inside a block";
      blocks.push_back(block);
    } else {
      ASSERT_EQ(pages[i], pages[i - 1] + 1);
    }
  }
  ASSERT_TRUE(std::ranges::is_sorted(pages, std::less_equal<>()));
  const std::size_t wanted = std::max<std::size_t>(
      3, plan.rounding == BlockRounding::kNearest ? (budget + b / 2) / b : budget / b);
  const std::size_t total = wanted - plan.paid_blocks + plan.first_blocks + plan.last_blocks;
  ASSERT_EQ(blocks.size(), std::min(n_block, total));
  double worst_taken = std::numeric_limits<double>::infinity();
  double best_left = -std::numeric_limits<double>::infinity();
  for (std::size_t block = 0; block < n_block; ++block) {
    const bool taken = std::ranges::binary_search(blocks, block);
    if (block < plan.first_blocks || block + plan.last_blocks >= n_block) {
      ASSERT_TRUE(taken) << block;
      continue;
    }
    const double score = plain_score(plan, std::span(keys).subspan(block * b * kDim, b * kDim), q);
    if (taken) worst_taken = std::min(worst_taken, score);
    if (!taken) best_left = std::max(best_left, score);
  }
  ASSERT_LE(best_left, worst_taken + rounding);
}

TEST(SparseDecode, ReadsTheBestBlocks) {
  for (const std::string method : {"quest", "arkvale", "ab-sparse"}) {
    for (const char* block : {"16", "32", "64", "128"}) {
      for (const auto& [type, rounding] :
           {std::pair("f16", 0.05), std::pair("int8", 0.3), std::pair("int4", 4.0)}) {
        const KvOptions options = with_decode(
            method, {{"block", block}, {"summaries", type}, {"dense-layers", "1"}}, 300);
        MadeUpCache cache(options, {1500, 601});
        for (std::size_t head = 0; head < 2; ++head) {
          SCOPED_TRACE(method + " " + block + " " + type + " head " + std::to_string(head));
          expect_right_pages(cache, 1, head, 300, rounding);
          expect_right_pages(cache, 2, head, 300, rounding);
          EXPECT_EQ(cache.pages_read(0, head, std::vector<float>(2 * kDim)).size(),
                    head == 0 ? 94U : 38U);
        }
      }
    }
  }
}

// A block size for each head of each layer, in whatever order: no head goes by its neighbour's.
TEST(SparseDecode, ReadsTheBestBlocksOfEachHeadsSize) {
  const std::vector<int> sizes = {16, 128, 64, 16, 128, 32};  // [layers, heads]
  static_assert(kLayers * kHeads == 6);
  for (const char* estimator : {"quest", "arkvale"}) {
    for (const auto& [type, rounding] :
         {std::pair("f16", 0.05), std::pair("int8", 0.3), std::pair("int4", 4.0)}) {
      KvOptions options = with_decode(
          "ab-sparse", {{"estimator", estimator}, {"summaries", type}, {"dense-layers", "0"}}, 300);
      options.decode.table = std::make_shared<BlockTable>(BlockTable{
          .name = "mixed", .n_layer = kLayers, .n_kv_head = kHeads, .block_rows = sizes});
      MadeUpCache cache(options, {1500, 601});
      for (int step = 0; step < 2; ++step) {
        for (int layer = 0; layer < kLayers; ++layer) {
          for (std::size_t head = 0; head < kHeads; ++head) {
            const auto at = static_cast<std::size_t>(layer * kHeads) + head;
            SCOPED_TRACE(std::string(estimator) + " " + type + " layer " + std::to_string(layer) +
                         " head " + std::to_string(head));
            ASSERT_EQ(cache.sequence().variant->block_rows(std::size_t(layer), head),
                      static_cast<std::size_t>(sizes[at]));
            expect_right_pages(cache, layer, head, 300, rounding);
          }
        }
        // Of every size some block becomes full.
        for (int row = 0; row < 130; ++row) cache.grow();
      }
    }
  }
}

// Pages fill, one row a step; a copy that goes another way; and summaries made anew say the same.
TEST(SparseDecode, SummariesFollowTheCache) {
  for (const char* type : {"f16", "int4"}) {
    const KvOptions options =
        with_decode("ab-sparse", {{"summaries", type}, {"block", "16"}, {"dense-layers", "0"}}, 96);
    MadeUpCache cache(options, {1010, 240});
    for (int step = 0; step < 70; ++step) {
      cache.grow();
      std::vector<float> q = cache.row();
      const std::vector<float> other = cache.row();
      q.insert(q.end(), other.begin(), other.end());
      std::vector<std::vector<std::size_t>> kept;
      for (std::size_t head = 0; head < 2; ++head) kept.push_back(cache.pages_read(1, head, q));
      if (step % 9 != 0) continue;
      CacheSummaries before(cache.sequence().summaries);
      cache.sequence().summaries.clear();
      for (std::size_t head = 0; head < 2; ++head) {
        EXPECT_EQ(cache.pages_read(1, head, q), kept[head]) << "step " << step;
      }
      if (step % 2 == 0) cache.sequence().summaries = std::move(before);
    }
  }
}

class SparseDecodePasses : public testing::TestWithParam<RandomModel> {};

TEST_P(SparseDecodePasses, ABudgetOfAllRowsGivesTheBitsOfDense) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(130, GetParam().n_vocab, 1);
  const auto next = random_tokens(30, GetParam().n_vocab, 2);
  auto dense = engine.prefill(tokens, full_cache(KvType::kF16));
  const auto expected = engine.decode(dense.sequence, next);
  for (KvOptions options : all_sparse(160)) {
    auto run = engine.prefill(tokens, options);
    EXPECT_EQ(engine.decode(run.sequence, next), expected) << options.decode.method;
    options.decode.budget = Budget{.unit = Budget::Unit::kPercent, .amount = 100};
    auto percent = engine.prefill(tokens, options);
    EXPECT_EQ(engine.decode(percent.sequence, next), expected) << options.decode.method;
    // So many layers are dense that nothing is left to choose.
    options.decode.budget = Budget{.unit = Budget::Unit::kTokens, .amount = 1};
    options.decode.method_options = {{"dense-layers", "7"}};
    auto layers = engine.prefill(tokens, options);
    EXPECT_EQ(engine.decode(layers.sequence, next), expected) << options.decode.method;
  }
}

TEST_P(SparseDecodePasses, ASmallBudgetReadsLessAndAnswersOtherwise) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(400, GetParam().n_vocab, 3);
  const auto next = random_tokens(20, GetParam().n_vocab, 4);
  auto dense = engine.prefill(tokens, full_cache(KvType::kF16));
  const auto expected = engine.decode(dense.sequence, next);
  const DecodeReport whole = dense.sequence.report().decode;
  EXPECT_EQ(whole.method, "dense");
  EXPECT_EQ(whole.budget, "100%");
  EXPECT_EQ(whole.steps, 20U);
  EXPECT_EQ(whole.rows_read_mean, whole.rows_held_mean);
  EXPECT_EQ(whole.summary_bytes, 0U);
  for (const std::string method : {"quest", "arkvale", "ab-sparse"}) {
    std::vector<double> errors;
    for (const double budget : {48.0, 352.0}) {
      auto run = engine.prefill(
          tokens, with_decode(method, {{"dense-layers", "0"}, {"block", "16"}}, budget));
      const std::size_t bytes = run.sequence.bytes();
      errors.push_back(mean_square_error(engine.decode(run.sequence, next), expected));
      const DecodeReport report = run.sequence.report().decode;
      EXPECT_EQ(report.method, method);
      EXPECT_LT(report.rows_read_mean, report.rows_held_mean);
      EXPECT_EQ(report.rows_held_mean, whole.rows_held_mean);
      EXPECT_GT(report.summary_bytes, 0U);
      // Nothing was dropped, and the summaries are charged to the engine.
      EXPECT_GE(run.sequence.bytes(), bytes);
      EXPECT_EQ(engine->cache_bytes(),
                dense.sequence.bytes() + run.sequence.bytes() + report.summary_bytes);
    }
    EXPECT_GT(errors[0], 1e-6) << method;
    EXPECT_LT(errors[1], errors[0]) << method;
  }
}

TEST_P(SparseDecodePasses, CompanyThreadsAndForksChangeNothing) {
  TestEngine engine(GetParam());
  EngineOptions threaded = TestEngine::default_options();
  threaded.n_threads = 3;
  TestEngine others(GetParam(), threaded);
  const auto long_text = random_tokens(333, GetParam().n_vocab, 5);
  const auto short_text = random_tokens(90, GetParam().n_vocab, 6);
  const auto next = random_tokens(40, GetParam().n_vocab, 7);
  for (const KvOptions& options : all_sparse(64)) {
    auto alone = engine.prefill(long_text, options);
    const auto expected = engine.decode(alone.sequence, next);
    auto by_three = others.prefill(long_text, options);
    EXPECT_EQ(others.decode(by_three.sequence, next), expected) << options.decode.method;

    auto run = engine.prefill(long_text, options);
    auto company = engine.prefill(short_text, full_cache(KvType::kF16));
    std::vector<float> seen;
    const auto n_vocab = static_cast<std::size_t>(GetParam().n_vocab);
    Sequence one = std::move(run.sequence);
    for (std::size_t i = 0; i < next.size(); ++i) {
      if (i == 7 || i == 23) {  // go on with a copy; the first goes another way
        Sequence fork = one.fork();
        (void)engine.decode(one, std::span(long_text).first(20));
        one = std::move(fork);
      }
      std::vector<float> logits(2 * n_vocab);
      Sequence* const both[] = {&company.sequence, &one};
      const Token step[] = {long_text[i], next[i]};
      ASSERT_TRUE(engine->decode(both, step, {logits.data(), 2, n_vocab}).ok());
      seen.insert(seen.end(), logits.begin() + static_cast<std::ptrdiff_t>(n_vocab), logits.end());
    }
    EXPECT_EQ(seen, expected) << options.decode.method;
    EXPECT_EQ(one.report().decode.rows_read_mean, alone.sequence.report().decode.rows_read_mean);
  }
}

// Evict to 96 rows, read a part of those, go on with another turn.
TEST_P(SparseDecodePasses, WorksOnAnEvictedCacheFromTurnToTurn) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(300, GetParam().n_vocab, 8);
  const auto next = random_tokens(40, GetParam().n_vocab, 9);
  for (KvOptions options : all_sparse(48)) {
    options.policy = "snapkv";
    options.allocator = "ada";
    options.window = 8;
    options.budget.amount = 96;
    auto run = engine.prefill(tokens, options);
    (void)engine.decode(run.sequence, next);
    const DecodeReport first = run.sequence.report().decode;
    EXPECT_EQ(first.steps, 40U);
    EXPECT_LT(first.rows_read_mean, first.rows_held_mean);
    const auto after = engine.extend(run.sequence, std::span(tokens).first(50));
    EXPECT_EQ(run.sequence.report().decode.steps, 0U);
    EXPECT_EQ(run.sequence.report().decode.summary_bytes, 0U);
    const auto logits = engine.decode(run.sequence, next);
    EXPECT_TRUE(std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }));
    EXPECT_LT(run.sequence.report().decode.rows_read_mean, 96);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SparseDecodePasses,
                         testing::Values(random_llama(), random_qwen2(), random_gemma2()),
                         family_name);

// The rows that Quest reads can be counted by hand.
TEST(SparseDecode, RowsReadAreThoseOfThePagesChosen) {
  TestEngine engine(random_llama());
  const auto tokens = random_tokens(200, 100, 10);
  auto run = engine.prefill(tokens, with_decode("quest", {{"dense-layers", "1"}}, 64));
  (void)engine.decode(run.sequence, std::span(tokens).first(10));
  // Of 3 layers one is dense. Steps see 201 .. 210 rows; the 13th page, filled up to 208, is read
  // with 3 full ones, then the 14th.
  double sparse = 0;
  double held = 0;
  for (std::size_t rows = 201; rows <= 210; ++rows) {
    sparse += 48 + static_cast<double>((rows - 1) % 16 + 1);
    held += static_cast<double>(rows);
  }
  const DecodeReport report = run.sequence.report().decode;
  EXPECT_DOUBLE_EQ(report.rows_read_mean, (held + 2 * sparse) / 30);
  EXPECT_DOUBLE_EQ(report.rows_held_mean, held / 10);
  EXPECT_EQ(report.budget, "64");
}

std::shared_ptr<BlockTable> table_for(const ModelInfo& model, int rows) {
  return std::make_shared<BlockTable>(BlockTable{
      .name = "table",
      .fingerprint = model.fingerprint,
      .n_layer = model.n_layer,
      .n_kv_head = model.n_kv_head,
      .block_rows =
          std::vector<int>(static_cast<std::size_t>(model.n_layer * model.n_kv_head), rows)});
}

TEST(SparseDecode, ATableGivesEachHeadItsBlockSize) {
  TestEngine engine(random_llama());
  const auto tokens = random_tokens(300, 100, 11);
  const auto next = random_tokens(20, 100, 12);
  KvOptions uniform = with_decode("ab-sparse", {{"dense-layers", "0"}, {"block", "64"}}, 100);
  auto expected = engine.prefill(tokens, uniform);
  const auto logits = engine.decode(expected.sequence, next);
  KvOptions tabled = with_decode("ab-sparse", {{"dense-layers", "0"}}, 100);
  auto table = table_for(engine->model(), 64);
  tabled.decode.table = table;
  auto run = engine.prefill(tokens, tabled);
  EXPECT_EQ(engine.decode(run.sequence, next), logits);
  const DecodeReport report = run.sequence.report().decode;
  EXPECT_EQ(report.table, "table");
  for (const auto& [name, value] : report.options) EXPECT_NE(name, "block") << value;
  EXPECT_EQ(block_sizes_text(expected.sequence.report().decode), "blocks of 64 for all heads");
  table->block_rows[3] = 16;
  auto mixed = engine.prefill(tokens, tabled);
  EXPECT_NE(engine.decode(mixed.sequence, next), logits);
}

TEST(SparseDecode, WhatDoesNotFitIsRefusedByName) {
  TestEngine engine(random_llama());
  RandomModel other = random_llama();
  other.seed = 2;
  TestEngine stranger(other);
  ASSERT_NE(engine->model().fingerprint, stranger->model().fingerprint);
  const auto tokens = random_tokens(20, 100, 13);
  const auto message = [&](const KvOptions& options) {
    std::vector<float> logits;
    const auto made = engine->prefill(tokens, {&options, 1}, {}, logits);
    EXPECT_FALSE(made.ok());
    if (made.ok()) return std::string();
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    return made.error().message;
  };
  KvOptions options = with_decode("ab-sparse", {}, 100);
  options.decode.table = table_for(stranger->model(), 32);
  EXPECT_NE(message(options).find("another model"), std::string::npos);
  options.decode.table = table_for(engine->model(), 48);
  EXPECT_NE(message(options).find("block sizes"), std::string::npos);
  const auto measured = table_for(engine->model(), 32);
  options.decode.table = measured;
  options.decode.method_options = {{"block", "32"}};
  EXPECT_NE(message(options).find("block=32"), std::string::npos);
  options.decode.method_options.clear();
  measured->estimator = "arkvale";
  EXPECT_NE(message(options).find("boxes of arkvale, not of quest"), std::string::npos);
  options.decode.method = "quest";
  EXPECT_NE(message(options).find("takes no table"), std::string::npos);
  EXPECT_NE(message(with_decode("dense", {}, 100)).find("no budget"), std::string::npos);
  EXPECT_NE(message(with_decode("quests", {}, 100)).find("ab-sparse, arkvale, dense, quest"),
            std::string::npos);
  EXPECT_NE(message(with_decode("quest", {{"block", "48"}}, 100)).find("block"), std::string::npos);
}

}  // namespace
}  // namespace restkv
