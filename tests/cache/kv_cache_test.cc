// The paged cache against a model of it made of std::vector.

#include "cache/kv_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <vector>

namespace restkv {
namespace {

constexpr int kLayers = 2;
constexpr int kHeads = 3;
constexpr int kDim = 32;

CacheShape shape_of(KvType type, std::vector<int> windows = {0, 0}, bool sums = false) {
  return {.n_layer = kLayers,
          .n_kv_head = kHeads,
          .head_dim = kDim,
          .type_k = type,
          .type_v = type,
          .with_column_sums = sums,
          .sliding_window = std::move(windows)};
}

std::vector<float> row_for(int layer, int head, Position position, float offset) {
  std::vector<float> row(kDim);
  for (int d = 0; d < kDim; ++d) {
    row[static_cast<std::size_t>(d)] =
        static_cast<float>((layer * 7 + head * 3 + position * 5 + d * 11) % 64) / 8.0F + offset;
  }
  return row;
}

// All rows of a head as (position -> first key element), read back through the pages.
std::map<Position, float> read_back(const KvCache& cache, int layer, int head) {
  const KernelTable& kernels = best_table();
  KvCache::HeadPages pages;
  cache.pages(layer, head, pages);
  const std::vector<Position> positions = cache.positions(layer, head);
  std::map<Position, float> rows;
  std::size_t at = 0;
  std::size_t skip = pages.skip_rows;
  const std::size_t row_bytes = kv_row_bytes(cache.shape().type_k, kDim);
  for (const PageView& page : pages.pages) {
    for (std::size_t r = skip; r < page.rows; ++r) {
      std::vector<float> key(kDim);
      kernels.decode_row(cache.shape().type_k, page.keys + r * row_bytes, key.data(), kDim);
      rows[positions.at(at++)] = key[0];
    }
    skip = 0;
  }
  EXPECT_EQ(at, positions.size());
  return rows;
}

void append_all(KvCache& cache, Position position) {
  ASSERT_TRUE(cache.reserve_row(position).ok());
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int head = 0; head < kHeads; ++head) {
      cache.append(best_table(), layer, head, position, row_for(layer, head, position, 0).data(),
                   row_for(layer, head, position, 1).data());
    }
  }
}

TEST(KvCache, AppendsLikeAVector) {
  for (const KvType type : kAllKvTypes) {
    auto counter = std::make_shared<ByteCounter>();
    {
      KvCache cache(shape_of(type), counter);
      for (Position p = 0; p < 50; ++p) {
        append_all(cache, p);
        EXPECT_EQ(cache.rows(1, 2), static_cast<std::size_t>(p) + 1);
        EXPECT_EQ(cache.bytes(), counter->now());
        EXPECT_EQ(cache.bytes(), pages_for_rows(static_cast<std::size_t>(p) + 1) * kLayers *
                                     kHeads * page_bytes(cache.shape()));
      }
      for (const auto& [position, key] : read_back(cache, 1, 2)) {
        EXPECT_NEAR(key, row_for(1, 2, position, 0)[0], 0.6F) << kv_type_name(type);
      }
    }
    EXPECT_EQ(counter->now(), 0U);
  }
}

TEST(KvCache, SlidingLayerHoldsNothingThatTheNextQueryCannotSee) {
  auto counter = std::make_shared<ByteCounter>();
  constexpr int kWindow = 21;
  KvCache cache(shape_of(KvType::kF16, {kWindow, 0}), counter);
  for (Position p = 0; p < 100; ++p) {
    append_all(cache, p);
    const auto positions = cache.positions(0, 1);
    EXPECT_EQ(positions.size(), std::min<std::size_t>(static_cast<std::size_t>(p) + 1, kWindow));
    EXPECT_EQ(positions.back(), p);
    EXPECT_EQ(positions.front(), std::max(0, p - kWindow + 1));
    EXPECT_EQ(read_back(cache, 0, 1).size(), positions.size());
    EXPECT_EQ(cache.rows(1, 1), static_cast<std::size_t>(p) + 1);
  }
  EXPECT_EQ(full_cache_bytes(cache.shape(), 100),
            (pages_for_rows(kWindow) + pages_for_rows(100)) * kHeads * page_bytes(cache.shape()));
}

TEST(KvCache, ForksShareUntilOneWrites) {
  auto counter = std::make_shared<ByteCounter>();
  KvCache cache(shape_of(KvType::kF16), counter);
  for (Position p = 0; p < 20; ++p) append_all(cache, p);
  const std::size_t alone = counter->now();
  KvCache fork = cache.fork();
  EXPECT_EQ(counter->now(), alone);
  EXPECT_EQ(fork.bytes(), cache.bytes());
  const auto before = read_back(cache, 1, 1);
  for (Position p = 30; p < 60; ++p) append_all(fork, p);
  EXPECT_EQ(read_back(cache, 1, 1), before);
  append_all(cache, 20);
  EXPECT_EQ(cache.rows(0, 0), 21U);
  EXPECT_EQ(fork.rows(0, 0), 50U);
  EXPECT_EQ(read_back(fork, 0, 0).count(20), 0U);
}

TEST(KvCache, TakesBackAStepThatFailed) {
  KvCache cache(shape_of(KvType::kF16, {8, 0}), std::make_shared<ByteCounter>());
  for (Position p = 0; p < 33; ++p) append_all(cache, p);
  const auto before = read_back(cache, 1, 0);
  ASSERT_TRUE(cache.reserve_row(33).ok());
  cache.append(best_table(), 0, 0, 33, row_for(0, 0, 33, 0).data(), row_for(0, 0, 33, 1).data());
  cache.append(best_table(), 1, 0, 33, row_for(1, 0, 33, 0).data(), row_for(1, 0, 33, 1).data());
  cache.drop_from(33);
  EXPECT_EQ(read_back(cache, 1, 0), before);
  EXPECT_EQ(cache.positions(0, 0).back(), 32);
  append_all(cache, 33);
  EXPECT_EQ(cache.rows(1, 0), 34U);
  EXPECT_EQ(cache.rows(0, 0), 8U);
}

// Random keep sets, each head its own, stored, loaded into a layer, extended and stored again.
TEST(KvCache, StoreAndLoadKeepRowsPositionsAndSums) {
  std::mt19937 random(5);
  for (const KvType type : {KvType::kF32, KvType::kF16}) {
    auto counter = std::make_shared<ByteCounter>();
    KvCache cache(shape_of(type, {0, 0}, /*sums=*/true), counter);
    LayerRows layer({.n_kv_head = kHeads, .head_dim = kDim, .type = type, .with_column_sums = true},
                    *counter);
    const std::vector<std::size_t> capacity(kHeads, 100);
    ASSERT_TRUE(layer.reset(capacity).ok());
    for (int head = 0; head < kHeads; ++head) {
      for (Position p = 0; p < 100; ++p) {
        layer.append(best_table(), head, p, row_for(0, head, p, 0).data(),
                     row_for(0, head, p, 1).data(), static_cast<float>(p) * 0.5F);
      }
    }
    std::vector<std::vector<std::uint32_t>> keep(kHeads);
    for (int head = 0; head < kHeads; ++head) {
      for (std::uint32_t i = 0; i < 100; ++i) {
        if (random() % 3 != 0) keep[static_cast<std::size_t>(head)].push_back(i);
      }
      ASSERT_TRUE(
          cache.store(best_table(), 0, head, layer, keep[static_cast<std::size_t>(head)]).ok());
    }
    LayerRows again({.n_kv_head = kHeads, .head_dim = kDim, .type = type, .with_column_sums = true},
                    *counter);
    ASSERT_TRUE(again.reset(capacity).ok());
    cache.load(best_table(), 0, again);
    for (int head = 0; head < kHeads; ++head) {
      const auto& wanted = keep[static_cast<std::size_t>(head)];
      const HeadRows rows = again.view(head);
      ASSERT_EQ(rows.positions.size(), wanted.size());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_EQ(rows.positions[i], static_cast<Position>(wanted[i]));
        EXPECT_EQ(again.column_sums(head)[i], static_cast<float>(wanted[i]) * 0.5F);
        std::vector<float> value(kDim);
        best_table().decode_row(type, rows.values + i * kv_row_bytes(type, kDim), value.data(),
                                kDim);
        EXPECT_EQ(value, row_for(0, head, rows.positions[i], 1));
      }
    }
  }
}

// Rows of head 0 as a prefill would hold them: positions 0, 1, ..., each with its own sum.
void fill(LayerRows& layer, Position first, Position end, float sum) {
  for (Position p = first; p < end; ++p) {
    for (int head = 0; head < kHeads; ++head) {
      layer.append(best_table(), head, p, row_for(0, head, p, 0).data(),
                   row_for(0, head, p, 1).data(), sum + static_cast<float>(p));
    }
  }
}

TEST(KvCache, AppendedRowsBringTheSumsOfTheOldOnes) {
  const auto counter = std::make_shared<ByteCounter>();
  KvCache cache(shape_of(KvType::kF16, {0, 0}, /*sums=*/true), counter);
  LayerRows layer(
      {.n_kv_head = kHeads, .head_dim = kDim, .type = KvType::kF16, .with_column_sums = true},
      *counter);
  const std::vector<std::size_t> capacity(kHeads, 40);
  ASSERT_TRUE(layer.reset(capacity).ok());
  fill(layer, 0, 20, 100.0F);
  for (int head = 0; head < kHeads; ++head) {
    ASSERT_TRUE(cache.append_rows(best_table(), 0, head, layer, 0).ok());
  }
  KvCache fork = cache.fork();
  ASSERT_TRUE(layer.reset(capacity).ok());
  fill(layer, 0, 37, 500.0F);  // the old rows have received more since
  for (int head = 0; head < kHeads; ++head) {
    ASSERT_TRUE(cache.append_rows(best_table(), 0, head, layer, 20).ok());
  }
  const auto expect_sums = [&](const KvCache& from, std::size_t rows, float sum) {
    LayerRows read(
        {.n_kv_head = kHeads, .head_dim = kDim, .type = KvType::kF16, .with_column_sums = true},
        *counter);
    ASSERT_TRUE(read.reset(capacity).ok());
    from.load(best_table(), 0, read);
    for (int head = 0; head < kHeads; ++head) {
      ASSERT_EQ(read.rows(head), rows);
      for (std::size_t i = 0; i < rows; ++i) {
        EXPECT_EQ(read.column_sums(head)[i], sum + static_cast<float>(i));
      }
    }
  };
  expect_sums(cache, 37, 500.0F);
  expect_sums(fork, 20, 100.0F);
}

// A step that failed leaves a page that is ready and empty; two forks share it.
TEST(KvCache, ForksDoNotShareAPageThatWasMadeReady) {
  const auto counter = std::make_shared<ByteCounter>();
  KvCache cache(shape_of(KvType::kF16), counter);
  LayerRows layer({.n_kv_head = kHeads, .head_dim = kDim, .type = KvType::kF16}, *counter);
  const std::vector<std::size_t> capacity(kHeads, 40);
  ASSERT_TRUE(layer.reset(capacity).ok());
  fill(layer, 0, 16, 0.0F);
  for (int head = 0; head < kHeads; ++head) {
    ASSERT_TRUE(cache.append_rows(best_table(), 0, head, layer, 0).ok());
  }
  ASSERT_TRUE(cache.reserve_row(16).ok());
  KvCache fork = cache.fork();
  fill(layer, 16, 18, 0.0F);
  ASSERT_TRUE(cache.append_rows(best_table(), 0, 0, layer, 16).ok());
  const std::map<Position, float> expected = read_back(cache, 0, 0);
  ASSERT_EQ(expected.size(), 18U);

  ASSERT_TRUE(layer.reset(capacity).ok());
  fill(layer, 0, 16, 0.0F);
  fill(layer, 20, 25, 0.0F);
  ASSERT_TRUE(fork.append_rows(best_table(), 0, 0, layer, 16).ok());
  EXPECT_EQ(read_back(cache, 0, 0), expected);
  EXPECT_EQ(read_back(fork, 0, 0).size(), 21U);
  EXPECT_EQ(cache.bytes_beyond(fork), page_bytes(cache.shape()));
}

TEST(LayerRows, DropsWhatHasLeftTheWindow) {
  ByteCounter counter;
  LayerRows layer(
      {.n_kv_head = 1, .head_dim = kDim, .type = KvType::kF16, .with_column_sums = true}, counter);
  const std::vector<std::size_t> capacity(1, 10);
  ASSERT_TRUE(layer.reset(capacity).ok());
  for (Position p = 0; p < 10; ++p) {
    layer.append(best_table(), 0, p * 2, row_for(0, 0, p, 0).data(), row_for(0, 0, p, 1).data(),
                 static_cast<float>(p));
  }
  layer.drop_before(7);
  const HeadRows rows = layer.view(0);
  ASSERT_EQ(rows.positions.size(), 6U);
  EXPECT_EQ(rows.positions.front(), 8);
  EXPECT_EQ(layer.column_sums(0).front(), 4.0F);
  std::vector<float> key(kDim);
  best_table().decode_row(KvType::kF16, rows.keys, key.data(), kDim);
  EXPECT_EQ(key, row_for(0, 0, 4, 0));
}

// Every byte that a head holds, row after row.
std::vector<std::vector<std::byte>> row_bytes_of(const KvCache& cache, int layer, int head) {
  KvCache::HeadPages pages;
  cache.pages(layer, head, pages);
  const std::size_t bytes = kv_row_bytes(cache.shape().type_k, kDim);
  std::vector<std::vector<std::byte>> rows;
  std::size_t skip = pages.skip_rows;
  for (const PageView& page : pages.pages) {
    for (std::size_t r = skip; r < page.rows; ++r) {
      std::vector<std::byte>& row = rows.emplace_back();
      row.insert(row.end(), page.keys + r * bytes, page.keys + (r + 1) * bytes);
      row.insert(row.end(), page.values + r * bytes, page.values + (r + 1) * bytes);
    }
    skip = 0;
  }
  return rows;
}

// Rows dropped in place, again and again, with new ones in between, forks that look on, and a
// sliding window: what is left is what a std::vector would hold, to the bit.
TEST(KvCache, KeepsRowsInPlaceLikeAVector) {
  std::mt19937 random(3);
  for (const KvType type : kAllKvTypes) {
    auto counter = std::make_shared<ByteCounter>();
    constexpr int kSliding = 37;
    KvCache cache(shape_of(type, {kSliding, 0}, /*sums=*/true), counter);
    Position next = 0;
    for (int round = 0; round < 40; ++round) {
      const auto appended = static_cast<Position>(random() % 30);
      for (Position i = 0; i < appended; ++i) append_all(cache, next++);
      const KvCache onlooker = cache.fork();
      const int layer = static_cast<int>(random() % kLayers);
      const int head = static_cast<int>(random() % kHeads);
      const auto rows = row_bytes_of(cache, layer, head);
      const auto positions = cache.positions(layer, head);
      ASSERT_TRUE(cache.make_writable(layer, head, 0).ok());
      std::vector<float> received(rows.size());
      for (float& one : received) one = static_cast<float>(random() % 100);
      auto sums = cache.column_sums(layer, head);
      const auto sums_before = sums;
      cache.add_to_sums(layer, head, received);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += received[i];
      ASSERT_EQ(cache.column_sums(layer, head), sums);

      // From "all but one" to "none".
      const std::size_t share = random() % 4;
      std::vector<std::uint32_t> keep;
      const std::size_t lost = rows.empty() ? 0 : random() % rows.size();
      for (std::uint32_t i = 0; i < rows.size(); ++i) {
        if (share == 0 ? i != lost : random() % 4 < share) keep.push_back(i);
      }
      cache.keep_rows(layer, head, {&keep, 1});
      std::vector<std::vector<std::byte>> wanted;
      std::vector<Position> wanted_positions;
      std::vector<float> wanted_sums;
      for (const std::uint32_t i : keep) {
        wanted.push_back(rows[i]);
        wanted_positions.push_back(positions[i]);
        wanted_sums.push_back(sums[i]);
      }
      ASSERT_EQ(row_bytes_of(cache, layer, head), wanted);
      ASSERT_EQ(cache.positions(layer, head), wanted_positions);
      ASSERT_EQ(cache.column_sums(layer, head), wanted_sums);
      EXPECT_EQ(cache.rows(layer, head), keep.size());
      // The fork still holds what there was.
      ASSERT_EQ(row_bytes_of(onlooker, layer, head), rows);
      ASSERT_EQ(onlooker.positions(layer, head), positions);
      ASSERT_EQ(onlooker.column_sums(layer, head), sums_before);
    }
    EXPECT_EQ(counter->now(), cache.bytes()) << "every page that was left is freed";
  }
}

}  // namespace
}  // namespace restkv
