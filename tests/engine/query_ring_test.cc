// The ring of newest queries against a list of all of them.

#include "engine/query_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

namespace restkv {
namespace {

constexpr std::size_t kLayers = 2;
constexpr std::size_t kHeads = 3;
constexpr std::size_t kDim = 4;

// [n_head, head_dim] of the token at `position`.
std::vector<float> query_of(std::size_t layer, std::size_t position) {
  std::vector<float> query;
  for (std::size_t i = 0; i < kHeads * kDim; ++i) {
    query.push_back(static_cast<float>(position * 100 + layer * 50 + i));
  }
  return query;
}

void put(QueryRing& ring, std::size_t position, std::size_t ahead) {
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    ring.put(layer, ahead, query_of(layer, position).data(), kDim);
  }
}

// The tokens before `end`, at most `window` of them.
void expect_newest(const QueryRing& ring, std::size_t end, std::size_t ahead, std::size_t window) {
  const std::size_t n = std::min(window, end);
  ASSERT_EQ(ring.count(ahead), n);
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    std::vector<float> out(kHeads * n * kDim + 1, -1.0F);
    ring.copy(layer, ahead, out.data());
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t i = 0; i < n; ++i) {
        const std::vector<float> query = query_of(layer, end - n + i);
        const auto head = std::span(query).subspan(h * kDim, kDim);
        EXPECT_TRUE(std::ranges::equal(head, std::span(out).subspan((h * n + i) * kDim, kDim)))
            << "layer " << layer << " head " << h << " query " << i << " of " << n;
      }
    }
    EXPECT_EQ(out.back(), -1.0F);
  }
}

TEST(QueryRing, HoldsTheNewestOfStepsAndOfTurns) {
  for (const std::size_t window : {1, 2, 5}) {
    QueryRing ring({.n_layer = kLayers, .n_head = kHeads, .head_dim = kDim, .window = window});
    EXPECT_EQ(ring.bytes(), kLayers * kHeads * kDim * (window + 1) * sizeof(float));
    std::size_t end = 0;
    for (const std::size_t turn : {3, 1, 1, 1, 1, 1, 1, 9, 1, 2, 1, 1}) {
      if (turn == 1) {
        // What a step puts is seen ahead of time, and a step that never ends loses nothing.
        put(ring, end + 77, 0);
        expect_newest(ring, end, 0, window);
        put(ring, end, 0);
        expect_newest(ring, end + 1, 1, window);
      } else {
        for (std::size_t i = turn - std::min(turn, window); i < turn; ++i) put(ring, end + i, i);
      }
      ring.advance(turn);
      end += turn;
      expect_newest(ring, end, 0, window);
    }
  }
}

TEST(QueryRing, KeepsNothingUnlessAsked) {
  const QueryRing ring;
  EXPECT_FALSE(ring.keeps_any());
  EXPECT_EQ(ring.bytes(), 0U);
}

}  // namespace
}  // namespace restkv
