// Sets of rows of one KV head, against a model of them made of std::map.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "cache/kv_cache.h"

namespace restkv {
namespace {

constexpr std::size_t kDim = 8;

struct Expected {
  std::map<Position, float> rows;               // position -> first element of the key
  std::vector<std::map<Position, float>> sets;  // [sets] position -> sum
};

CacheShape shape_of(int sets, int window) {
  return {.n_layer = 1,
          .n_kv_head = 2,
          .head_dim = static_cast<int>(kDim),
          .type_k = KvType::kF32,
          .type_v = KvType::kF32,
          .with_column_sums = true,
          .sets = sets,
          .sliding_window = {window}};
}

float key_at(int head, Position position) {
  return static_cast<float>(head * 1000) + static_cast<float>(position);
}

// What decode attention would read: for each row its key and which sets see it.
void expect_pages(const KvCache& cache, int head, const Expected& expected) {
  KvCache::HeadPages pages;
  cache.pages(0, head, pages);
  std::vector<std::pair<float, std::vector<bool>>> found;
  std::vector<std::pair<float, std::vector<bool>>> wanted;
  std::size_t skip = pages.skip_rows;
  const std::size_t mask_bytes = row_mask_bytes(expected.sets.size());
  for (const PageView& page : pages.pages) {
    ASSERT_EQ(page.masks != nullptr, expected.sets.size() > 1);
    for (std::size_t r = skip; r < page.rows; ++r) {
      std::vector<bool> seen;
      for (std::size_t set = 0; set < expected.sets.size(); ++set) {
        seen.push_back(page.masks == nullptr || sees_row(page.masks + r * mask_bytes, set));
      }
      found.emplace_back(reinterpret_cast<const float*>(page.keys)[r * kDim], seen);
    }
    skip = 0;
  }
  for (const auto& [position, key] : expected.rows) {
    std::vector<bool> seen;
    for (const auto& set : expected.sets) seen.push_back(set.contains(position));
    wanted.emplace_back(key, seen);
  }
  ASSERT_EQ(found, wanted);
}

void expect_same(const KvCache& cache, int head, const Expected& expected) {
  const auto sets = static_cast<int>(expected.sets.size());
  ASSERT_EQ(cache.rows(0, head), expected.rows.size());
  for (int own = 0; own < sets; ++own) {
    std::vector<Position> positions;
    std::vector<float> sums;
    for (const auto& [position, sum] : expected.sets[static_cast<std::size_t>(own)]) {
      positions.push_back(position);
      sums.push_back(sum);
    }
    ASSERT_EQ(cache.held_positions(0, head * sets + own), positions);
    ASSERT_EQ(cache.column_sums(0, head * sets + own), sums);
  }
  expect_pages(cache, head, expected);
}

void append(KvCache& cache, Position position, std::vector<Expected>& expected) {
  ASSERT_TRUE(cache.reserve_row(position).ok());
  const int window = cache.shape().sliding_window.front();
  for (int head = 0; head < 2; ++head) {
    const std::vector<float> row(kDim, key_at(head, position));
    cache.append(best_table(), 0, head, position, row.data(), row.data());
    Expected& mine = expected[static_cast<std::size_t>(head)];
    const auto slide = [&](std::map<Position, float>& rows) {
      std::erase_if(rows,
                    [&](const auto& old) { return window > 0 && old.first <= position - window; });
    };
    slide(mine.rows);
    mine.rows[position] = key_at(head, position);
    for (auto& set : mine.sets) {
      slide(set);
      set[position] = 0;
    }
  }
}

// Drops rows of every set at random, and rows that no set holds.
void drop(KvCache& cache, int head, std::mt19937& random, Expected& expected) {
  std::vector<std::vector<std::uint32_t>> keep(expected.sets.size());
  std::map<Position, float> left;
  for (std::size_t own = 0; own < expected.sets.size(); ++own) {
    const std::size_t share = random() % 5;
    std::uint32_t place = 0;
    std::erase_if(expected.sets[own], [&](const auto& row) {
      const bool stays = random() % 4 < share;
      if (stays) {
        keep[own].push_back(place);
        left[row.first] = expected.rows.at(row.first);
      }
      ++place;
      return !stays;
    });
  }
  const std::size_t first = cache.first_change(0, head, keep);
  ASSERT_TRUE(cache.make_writable(0, head, first).ok());
  cache.keep_rows(0, head, keep);
  expected.rows = left;
}

class KvCacheSets : public testing::TestWithParam<int> {};

TEST_P(KvCacheSets, HoldWhatAMapHolds) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto sets = static_cast<std::size_t>(GetParam());
  auto counter = std::make_shared<ByteCounter>();
  for (const int window : {0, 37}) {
    KvCache cache(shape_of(GetParam(), window), counter);
    std::vector<Expected> expected(2, {.rows = {}, .sets = {sets, std::map<Position, float>()}});
    Position next = 0;
    for (int round = 0; round < 60; ++round) {
      for (std::size_t i = random() % 25; i > 0; --i) append(cache, next++, expected);
      const KvCache fork = cache.fork();
      const std::vector<Expected> before = expected;
      const auto head = static_cast<int>(random() % 2);
      Expected& mine = expected[static_cast<std::size_t>(head)];
      if (random() % 2 == 0) {
        drop(cache, head, random, mine);
      } else {
        const std::size_t own = random() % sets;
        std::vector<float> received;
        for (auto& [position, sum] : mine.sets[own]) {
          received.push_back(static_cast<float>(random() % 100));
          sum += received.back();
        }
        ASSERT_TRUE(cache.make_writable(0, head, 0).ok());
        cache.add_to_sums(0, head * GetParam() + static_cast<int>(own), received);
      }
      for (int h = 0; h < 2; ++h) {
        expect_same(cache, h, expected[static_cast<std::size_t>(h)]);
        expect_same(fork, h, before[static_cast<std::size_t>(h)]);
      }
    }
    EXPECT_EQ(counter->now(), cache.bytes());
  }
}

// Out to a layer with a head for each set, and back from there.
TEST_P(KvCacheSets, GoOutAndComeBack) {
  std::mt19937 random(7);
  const auto sets = static_cast<std::size_t>(GetParam());
  auto counter = std::make_shared<ByteCounter>();
  KvCache cache(shape_of(GetParam(), 0), counter);
  std::vector<Expected> expected(2, {.rows = {}, .sets = {sets, std::map<Position, float>()}});
  for (Position p = 0; p < 70; ++p) append(cache, p, expected);
  EXPECT_TRUE(cache.sets_agree());
  for (int head = 0; head < 2; ++head) drop(cache, head, random, expected[std::size_t(head)]);
  EXPECT_EQ(cache.sets_agree(), sets == 1);

  LayerRows out({.n_kv_head = 2 * GetParam(),
                 .head_dim = static_cast<int>(kDim),
                 .type = KvType::kF32,
                 .with_column_sums = true},
                *counter);
  ASSERT_TRUE(out.reset(std::vector<std::size_t>(2 * sets, 100)).ok());
  cache.load(best_table(), 0, out);
  for (int set = 0; set < 2 * GetParam(); ++set) {
    const HeadRows rows = out.view(set);
    ASSERT_EQ(std::vector<Position>(rows.positions.begin(), rows.positions.end()),
              cache.held_positions(0, set));
    // Two more rows for all, and sums for all rows.
    for (const Position p : {80, 81}) {
      const std::vector<float> row(kDim, key_at(set / GetParam(), p));
      out.append(best_table(), set, p, row.data(), row.data(), 0);
    }
    float sum = static_cast<float>(set);
    for (float& one : out.column_sums(set)) one = sum += 1;
  }
  const auto sets_of = [&](int head, const std::vector<std::vector<std::uint32_t>>& keep) {
    std::vector<KeptRows> kept;
    for (std::size_t own = 0; own < sets; ++own) {
      const int set = head * GetParam() + static_cast<int>(own);
      kept.push_back({.rows = out.view(set), .keep = keep[own], .sums = out.column_sums(set)});
    }
    return kept;
  };
  const std::vector<std::vector<std::uint32_t>> unused(sets);
  KvCache grown = cache.fork();
  KvCache again(shape_of(GetParam(), 0), counter);
  for (int head = 0; head < 2; ++head) {
    ASSERT_TRUE(grown.append_rows(best_table(), 0, head, sets_of(head, unused), 2).ok());
    Expected mine = expected[std::size_t(head)];
    for (const Position p : {80, 81}) mine.rows[p] = key_at(head, p);
    std::vector<std::vector<std::uint32_t>> keep(sets);
    Expected thinned{.rows = {}, .sets = {sets, std::map<Position, float>()}};
    for (std::size_t own = 0; own < sets; ++own) {
      auto& held = mine.sets[own];
      held[80] = held[81] = 0;
      auto sum = static_cast<float>(head * GetParam() + static_cast<int>(own));
      std::uint32_t place = 0;
      for (auto& [position, received] : held) {
        received = sum += 1;
        if (random() % 2 == 0) {
          keep[own].push_back(place);
          thinned.rows[position] = key_at(head, position);
          thinned.sets[own][position] = received;
        }
        ++place;
      }
    }
    expect_same(grown, head, mine);
    expect_same(cache, head, expected[std::size_t(head)]);
    ASSERT_TRUE(again.store(best_table(), 0, head, sets_of(head, keep)).ok());
    expect_same(again, head, thinned);
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, KvCacheSets, testing::Values(1, 2, 7, 8, 9, 17),
                         [](const auto& named) { return std::to_string(named.param); });

}  // namespace
}  // namespace restkv
