#include "base/aligned.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/resident_bytes.h"

namespace restkv {
namespace {

bool is_aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % kAlignment == 0;
}

TEST(AlignedArray, StartsOnALineAndHoldsWhatWasAskedFor) {
  for (const std::size_t size : {1U, 3U, 16U, 17U, 1000U}) {
    AlignedArray<float> array(size);
    EXPECT_TRUE(is_aligned(array.data()));
    EXPECT_EQ(array.size(), size);
    EXPECT_EQ(array.span().size(), size);
    array[0] = 1.0F;
    array[size - 1] = 2.0F;
    EXPECT_EQ(array.span().back(), 2.0F);
  }
}

TEST(AlignedArray, OfNothingHasNoMemory) {
  EXPECT_EQ(AlignedArray<double>(0).data(), nullptr);
  EXPECT_TRUE(AlignedArray<double>().span().empty());
}

TEST(AlignedArray, ReserveGrowsButNeverShrinks) {
  AlignedArray<std::uint8_t> array(10);
  const std::uint8_t* const before = array.data();
  array.reserve(4);
  array.reserve(10);
  EXPECT_EQ(array.data(), before);
  EXPECT_EQ(array.size(), 10U);
  array.reserve(11);
  EXPECT_EQ(array.size(), 11U);
  EXPECT_TRUE(is_aligned(array.data()));
}

// Sizes whose bytes do not fit into a size_t, or whose rounding up would not.
TEST(AlignedArray, TooLargeIsBadAllocAndKeepsWhatWasThere) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  AlignedArray<double> array(3);
  array[2] = 5.0;
  for (const std::size_t size : {kMost, kMost / 8, kMost / 8 + 1, kMost / 16 + 2}) {
    EXPECT_THROW(array.reserve(size), std::bad_alloc) << size;
    EXPECT_EQ(array.size(), 3U);
    EXPECT_EQ(array[2], 5.0);
  }
}

// The first array teaches the heap to keep sizes up to its own; behind the second, something small
// stays.
TEST(AlignedArray, WhatIsGoneTakesNoMemoryThoughSomethingSmallStandsBehindIt) {
  if (mapped_from() > (std::size_t{1} << 30)) GTEST_SKIP() << "checked heap: nothing is mapped";
  const auto touched = [](std::size_t size) {
    AlignedArray<float> array(size);
    std::ranges::fill(array.span(), 1.0F);
    return array;
  };
  constexpr std::size_t kSize = std::size_t{6} << 20;  // 24 MiB
  EXPECT_EQ(touched(2 * kSize)[kSize], 1.0F);
  const std::size_t before = resident_bytes();
  AlignedArray<float> large = touched(kSize);
  const AlignedArray<float> small = touched(16384);
  EXPECT_GT(resident_bytes(), before + kSize * 3);
  large = AlignedArray<float>();
  EXPECT_LT(resident_bytes(), before + kSize);
}

// Only whole pages go, and they can be written again.
TEST(DropPages, GivesMemoryBackAndLeavesItsNeighbours) {
  constexpr std::size_t kSize = std::size_t{16} << 20;
  AlignedArray<std::byte> array(kSize, MemoryUse::kLarge);
  std::ranges::fill(array.span(), std::byte{7});
  const std::size_t before = resident_bytes();
  drop_pages(std::span(array.span()).subspan(100, kSize - 200));
  EXPECT_LT(resident_bytes(), before - kSize * 9 / 10);
  EXPECT_EQ(array[99], std::byte{7});
  EXPECT_EQ(array[kSize - 100], std::byte{7});
  std::ranges::fill(array.span(), std::byte{9});
  EXPECT_EQ(array[kSize / 2], std::byte{9});
}

TEST(DropPages, OfLessThanAPageGivesNothing) {
  std::vector<std::byte> bytes(100'000, std::byte{7});
  for (const std::size_t size : {0U, 1U, 2000U, 4095U}) {
    const std::span<std::byte> part = std::span(bytes).subspan(4096, size);
    drop_pages(part.first(size / 2));
  }
  drop_pages({});
  EXPECT_EQ(std::ranges::count(bytes, std::byte{7}), 100'000);
}

TEST(AlignedArray, MovesItsMemoryAndIsEmptyAfterwards) {
  AlignedArray<int> from(5);
  from[4] = 7;
  const int* const data = from.data();
  AlignedArray<int> to = std::move(from);
  EXPECT_EQ(to.data(), data);
  EXPECT_EQ(to[4], 7);
  EXPECT_EQ(from.size(), 0U);  // NOLINT(bugprone-use-after-move,*.Move): under test
  from.reserve(2);             // NOLINT(clang-analyzer-cplusplus.Move): must find memory anew
  ASSERT_NE(from.data(), nullptr);
  from = std::move(to);
  EXPECT_EQ(from.data(), data);
  EXPECT_EQ(from.size(), 5U);
  EXPECT_EQ(to.size(), 0U);  // NOLINT(bugprone-use-after-move,*.Move)
}

}  // namespace
}  // namespace restkv
