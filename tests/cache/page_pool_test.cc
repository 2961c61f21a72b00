// The memory of pages: blocks are apart from each other, keep what is written to them, and go back.

#include "cache/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "base/aligned.h"

namespace restkv {
namespace {

struct Held {
  std::byte* block = nullptr;
  unsigned char mark = 0;
};

void fill(const Held& held, std::size_t bytes) { std::memset(held.block, held.mark, bytes); }

bool is_whole(const Held& held, std::size_t bytes) {
  return std::all_of(held.block, held.block + bytes,
                     [&held](std::byte b) { return b == std::byte{held.mark}; });
}

TEST(PagePool, BlocksKeepWhatIsWrittenThroughAnyTakingAndGivingBack) {
  for (const std::size_t bytes : {1U, 63U, 64U, 1152U, 4160U, 20'000U, 3'000'000U}) {
    SCOPED_TRACE(bytes);
    auto counter = std::make_shared<ByteCounter>();
    PagePool pool(bytes, counter);
    std::mt19937 random(static_cast<std::uint32_t>(bytes));
    std::vector<Held> held;
    const std::size_t checked = std::min(bytes, std::size_t{20'000});
    const std::size_t most = bytes > 1'000'000 ? 5 : 500;
    for (int step = 0; step < 4000; ++step) {
      // Now growing, now shrinking.
      const bool takes = random() % 100 < (step / 700 % 2 == 0 ? 70U : 30U);
      if (held.empty() || (takes && held.size() < most)) {
        held.push_back({pool.take(), static_cast<unsigned char>(random())});
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(held.back().block) % kAlignment, 0U);
        fill(held.back(), checked);
      } else {
        std::swap(held[random() % held.size()], held.back());
        ASSERT_TRUE(is_whole(held.back(), checked)) << "step " << step;
        pool.give_back(held.back().block);
        held.pop_back();
      }
      ASSERT_EQ(counter->now(), held.size() * bytes);
      ASSERT_EQ(pool.bytes_out(), held.size() * bytes);
      ASSERT_GE(pool.slab_bytes(), held.size() * bytes);
    }
    for (const Held& one : held) pool.give_back(one.block);
    EXPECT_EQ(counter->now(), 0U);
    EXPECT_EQ(pool.slab_bytes(), 0U);
  }
}

TEST(PagePool, HoldsLittleThatIsNotOut) {
  constexpr std::size_t kBlock = 4160;
  PagePool pool(kBlock, std::make_shared<ByteCounter>());
  std::vector<std::byte*> held;
  while (held.size() < 4000) {
    held.push_back(pool.take());
    const std::size_t out = held.size() * kBlock;
    const std::size_t slack = pool.slab_bytes() - out;
    // A slab's end is shorter than a block.
    ASSERT_LE(slack, std::clamp(pool.slab_bytes() / 2, std::size_t{64} << 10, kLargePage) +
                         kBlock * (1 + out / kLargePage) + 8 * kBlock)
        << held.size();
  }
  // What was taken together lies together.
  std::size_t neighbours = 0;
  for (std::size_t i = 1; i < held.size(); ++i) neighbours += held[i] == held[i - 1] + kBlock;
  EXPECT_GT(neighbours, held.size() - 32);
  for (std::byte* const block : held) pool.give_back(block);
  EXPECT_EQ(pool.slab_bytes(), 0U);
}

TEST(PagePool, GivesAnEmptySlabBackWhileOthersAreInUse) {
  constexpr std::size_t kBlock = 4160;
  PagePool pool(kBlock, std::make_shared<ByteCounter>());
  std::vector<std::byte*> held;
  for (int i = 0; i < 4000; ++i) held.push_back(pool.take());
  for (std::size_t i = 1; i < held.size(); ++i) pool.give_back(held[i]);
  EXPECT_LE(pool.slab_bytes(), std::size_t{64} << 10);
  pool.give_back(held[0]);
}

TEST(PagePool, ServesManyThreads) {
  auto counter = std::make_shared<ByteCounter>();
  PagePool pool(1152, counter);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&pool, &wrong, t] {
      std::vector<Held> held;
      for (std::size_t i = 0; i < 3000; ++i) {
        held.push_back({pool.take(), static_cast<unsigned char>(t * 64 + i % 64)});
        fill(held.back(), 1152);
        if (i % 3 != 2) continue;
        std::swap(held[i * 7 % held.size()], held.back());
        wrong[t] += is_whole(held.back(), 1152) ? 0 : 1;
        pool.give_back(held.back().block);
        held.pop_back();
      }
      for (const Held& one : held) {
        wrong[t] += is_whole(one, 1152) ? 0 : 1;
        pool.give_back(one.block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
  EXPECT_EQ(counter->now(), 0U);
  EXPECT_EQ(pool.slab_bytes(), 0U);
}

}  // namespace
}  // namespace restkv
