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

#endif

}  // namespace
}  // namespace restkv
