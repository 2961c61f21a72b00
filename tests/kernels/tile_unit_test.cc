// The tile unit's instructions as the kernels give them, against plain loops. Where the processor
// has no such unit, the test's own stands in for it.

#include "kernels/tile_unit.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "support/tile_emulator.h"

namespace restkv {
namespace {

#if defined(__x86_64__) && defined(__linux__)

class TileUnitInstructions : public testing::Test {
 protected:
  void SetUp() override {
    if (!tile_unit().int8 || !tile_unit().bf16) emulator_.emplace();
  }

 private:
  std::optional<TileEmulator> emulator_;
};

constexpr std::size_t kRows = 11;
constexpr std::size_t kColumns = 13;  // of the sums
constexpr std::size_t kDeep = 7;      // fours of bytes, or pairs of bf16

TileShapes shapes() {
  TileShapes shapes;
  shapes.rows[2] = shapes.rows[4] = kRows;
  shapes.row_bytes[2] = shapes.row_bytes[6] = 4 * kColumns;
  shapes.row_bytes[4] = 4 * kDeep;
  shapes.rows[6] = kDeep;
  return shapes;
}

TEST_F(TileUnitInstructions, MultiplyUnsignedBytesWithSignedOnes) {
  constexpr std::size_t kStride = 100;
  std::vector<std::uint8_t> a(kRows * kStride);
  std::vector<std::int8_t> b(kDeep * 64);
  std::uint64_t state = 1;
  for (auto& x : a) x = static_cast<std::uint8_t>(next_random(state) >> 56);
  for (auto& x : b) x = static_cast<std::int8_t>(next_random(state) >> 56);
  std::array<std::int32_t, kColumns> start{};
  for (std::size_t j = 0; j < kColumns; ++j) start[j] = static_cast<std::int32_t>(1000 * j);
  std::vector<std::int32_t> got(kRows * 32, -7);

  const TileShapes wanted = shapes();
  configure_tiles(wanted);
  load_tile<2>(start.data(), 0);
  load_tile<4>(a.data(), kStride);
  load_tile<6>(b.data(), 64);
  add_byte_products<2, 4, 6>();
  add_byte_products<2, 4, 6>();
  store_tile<2>(got.data(), 32 * sizeof(std::int32_t));
  release_tiles();

  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < 32; ++j) {
      std::int32_t sum = -7;  // not written
      if (j < kColumns) {
        sum = start[j];
        for (std::size_t k = 0; k < 4 * kDeep; ++k) {
          sum += 2 * a[i * kStride + k] * b[k / 4 * 64 + 4 * j + k % 4];
        }
      }
      ASSERT_EQ(got[i * 32 + j], sum) << i << ", " << j;
    }
  }
}

// Small whole numbers, so that sums are exact in any order.
TEST_F(TileUnitInstructions, MultiplyBf16) {
  std::vector<std::uint16_t> a(kRows * 32);
  std::vector<std::uint16_t> b(kDeep * 32);
  std::uint64_t state = 2;
  const auto whole = [&state] { return static_cast<float>(next_random(state) % 9) - 4.0F; };
  const auto bits = [](float x) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16U);
  };
  const auto value = [](std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16U); };
  for (auto& x : a) x = bits(whole());
  for (auto& x : b) x = bits(whole());
  std::vector<float> got(kRows * 16);

  const TileShapes wanted = shapes();
  configure_tiles(wanted);
  load_tile<2>(got.data(), 64);
  zero_tile<2>();
  load_tile<4>(a.data(), 64);
  load_tile<6>(b.data(), 64);
  add_bf16_products<2, 4, 6>();
  store_tile<2>(got.data(), 64);
  release_tiles();

  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kColumns; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < 2 * kDeep; ++k) {
        sum += value(a[i * 32 + k]) * value(b[k / 2 * 32 + 2 * j + k % 2]);
      }
      ASSERT_EQ(got[i * 16 + j], sum) << i << ", " << j;
    }
  }
}

// 16 rows of 64 bytes.
template <class T>
using FullTile = std::array<T, std::size_t{1024} / sizeof(T)>;

// Any numbers: the order of the sums, one for even columns and one for odd ones, each from 0 on,
// and a rounding after each product.
TEST_F(TileUnitInstructions, AddBf16ProductsInTheManualsOrder) {
  FullTile<std::uint16_t> a{};
  FullTile<std::uint16_t> b{};
  FullTile<float> sums{};
  std::uint64_t state = 3;
  // Signs, 7 bits of a fraction and exponents from -8 to 7: sums of two such products and of f32
  // are exact in double, so one rounding to f32 is the only one.
  const auto any = [&state] {
    const std::uint64_t bits = next_random(state);
    return static_cast<std::uint16_t>((bits & 0x807FU) | ((119U + (bits >> 20U) % 16) << 7U));
  };
  for (auto& x : a) x = any();
  for (auto& x : b) x = any();
  for (auto& x : sums) x = std::bit_cast<float>(std::uint32_t{any()} << 16U) / 3.0F;
  const FullTile<float> before = sums;

  configure_tiles(TileShapes());
  load_tile<0>(sums.data(), 64);
  load_tile<5>(a.data(), 64);
  load_tile<7>(b.data(), 64);
  add_bf16_products<0, 5, 7>();
  store_tile<0>(sums.data(), 64);
  release_tiles();

  const auto value = [](std::uint16_t x) {
    return static_cast<double>(std::bit_cast<float>(std::uint32_t{x} << 16U));
  };
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 16; ++j) {
      std::array<float, 2> two{};
      for (std::size_t k = 0; k < 32; ++k) {
        const double product = value(a[i * 32 + k]) * value(b[k / 2 * 32 + 2 * j + k % 2]);
        two[k % 2] = static_cast<float>(two[k % 2] + product);
      }
      ASSERT_EQ(sums[i * 16 + j], before[i * 16 + j] + (two[0] + two[1])) << i << ", " << j;
    }
  }
}

// What is below the smallest normal number is 0, as an operand, a sum and a result.
TEST_F(TileUnitInstructions, TakeSubnormalNumbersForZeros) {
  constexpr std::uint16_t kOne = 0x3F80;
  constexpr std::uint16_t kHuge = 0x7F00;            // 2^127
  constexpr std::uint16_t kSubnormal = 0x0040;       // 2^-127
  constexpr std::uint16_t kSmallestNormal = 0x0080;  // 2^-126
  constexpr std::uint16_t kHalf = 0x3F00;
  // Rows of a: each one number in its first column; columns of b likewise.
  FullTile<std::uint16_t> a{};
  FullTile<std::uint16_t> b{};
  a[0] = kSubnormal;
  a[32] = kSmallestNormal;
  a[64] = kOne;
  b[0] = kHuge;
  b[2] = kHalf;
  b[4] = kSubnormal;
  b[6] = kOne;
  FullTile<float> sums{};
  sums[48] = 0x1p-127F;
  configure_tiles(TileShapes());
  load_tile<1>(sums.data(), 64);
  load_tile<4>(a.data(), 64);
  load_tile<6>(b.data(), 64);
  add_bf16_products<1, 4, 6>();
  store_tile<1>(sums.data(), 64);
  release_tiles();
  EXPECT_EQ(sums[0], 0.0F) << "2^-127 * 2^127";
  EXPECT_EQ(sums[16], 2.0F) << "2^-126 * 2^127";
  EXPECT_EQ(sums[17], 0.0F) << "2^-126 / 2";
  EXPECT_EQ(sums[19], 0x1p-126F);
  EXPECT_EQ(sums[34], 0.0F) << "1 * 2^-127";
  EXPECT_EQ(sums[48], 0.0F) << "a sum from before";
}

#endif

}  // namespace
}  // namespace restkv
