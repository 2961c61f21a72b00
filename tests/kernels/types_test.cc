// The cache's element types: kernels/element_types.h against ggml, and every table against
// element_types.h, bit for bit.

#include "kernels/element_types.h"

#include <ggml-cpu.h>
#include <ggml.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

using Halves = std::vector<std::uint16_t>;

Halves all_halves() {
  Halves halves(0x10000);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  return halves;
}

// Around every value of a 16-bit type: itself, the middle between it and the next, and the f32
// numbers on both sides of each; then bits at random.
std::vector<float> numbers_to_round(float (*decode)(std::uint16_t)) {
  std::vector<float> numbers;
  for (const std::uint16_t half : all_halves()) {
    const auto next = static_cast<std::uint16_t>(half + 1);
    const std::uint32_t here = std::bit_cast<std::uint32_t>(decode(half));
    const std::uint32_t middle = here + (std::bit_cast<std::uint32_t>(decode(next)) - here) / 2;
    for (const std::uint32_t bits : {here, middle - 1, middle, middle + 1}) {
      numbers.push_back(std::bit_cast<float>(bits));
    }
  }
  Random random(1);
  for (int i = 0; i < 50'000; ++i) {
    numbers.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.bits())));
  }
  return numbers;
}

struct SmallFloat {
  KvType type;
  ggml_type ggml;
  float (*decode)(std::uint16_t);
  std::uint16_t (*encode)(float);
};
constexpr SmallFloat kSmallFloats[] = {
    {KvType::kF16, GGML_TYPE_F16, element::f16_to_f32, element::f32_to_f16},
    {KvType::kBf16, GGML_TYPE_BF16, element::bf16_to_f32, element::f32_to_bf16},
};

// ggml's tables for f16 exist only after this.
void prepare_ggml() { ggml_cpu_init(); }

// The same bits, or both are a NaN.
bool same_number(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

TEST(ElementTypes, SmallFloatsAreThoseOfGgml) {
  prepare_ggml();
  for (const SmallFloat& small : kSmallFloats) {
    SCOPED_TRACE(kv_type_name(small.type));
    const Halves halves = all_halves();
    std::vector<float> wide(halves.size());
    ggml_get_type_traits(small.ggml)
        ->to_float(halves.data(), wide.data(), static_cast<std::int64_t>(wide.size()));
    for (std::size_t i = 0; i < halves.size(); ++i) {
      ASSERT_TRUE(same_number(small.decode(halves[i]), wide[i])) << i;
    }
    const std::vector<float> numbers = numbers_to_round(small.decode);
    Halves rounded(numbers.size());
    ggml_get_type_traits(small.ggml)
        ->from_float_ref(numbers.data(), rounded.data(), static_cast<std::int64_t>(numbers.size()));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::uint16_t got = small.encode(numbers[i]);
      if (std::isnan(numbers[i])) {
        ASSERT_TRUE(std::isnan(small.decode(got))) << i;
      } else {
        ASSERT_EQ(got, rounded[i]) << numbers[i];
      }
    }
  }
}

TEST(ElementTypes, TablesDecodeEverySmallFloat) {
  const Halves halves = all_halves();
  for_each_table([&](const KernelTable& table) {
    for (const SmallFloat& small : kSmallFloats) {
      SCOPED_TRACE(kv_type_name(small.type));
      Guarded<float> out(halves.size(), 1);
      table.decode_row(small.type, reinterpret_cast<const std::byte*>(halves.data()), out.data(),
                       halves.size());
      EXPECT_TRUE(out.intact());
      for (std::size_t i = 0; i < halves.size(); ++i) {
        ASSERT_TRUE(same_number(out.span()[i], small.decode(halves[i]))) << i;
      }
    }
  });
}

TEST(ElementTypes, TablesRoundAsDefined) {
  for (const SmallFloat& small : kSmallFloats) {
    SCOPED_TRACE(kv_type_name(small.type));
    const std::vector<float> numbers = numbers_to_round(small.decode);
    for_each_table([&](const KernelTable& table) {
      Guarded<std::uint16_t> out(numbers.size(), 1);
      table.encode_row(small.type, numbers.data(), reinterpret_cast<std::byte*>(out.data()),
                       numbers.size());
      EXPECT_TRUE(out.intact());
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (std::isnan(numbers[i])) {
          ASSERT_TRUE(std::isnan(small.decode(out.span()[i]))) << i;
        } else {
          ASSERT_EQ(out.span()[i], small.encode(numbers[i])) << numbers[i];
        }
      }
    });
  }
}

// Blocks of every magnitude that an f16 scale can hold, with zeros, signs and ties for the largest.
std::vector<float> blocks_to_quantise() {
  Random random(3);
  std::vector<float> x;
  for (int i = 0; i < 400; ++i) {
    const float size = std::exp2(random.uniform(-40.0F, 14.0F));
    const std::size_t form = random.below(5);
    for (std::size_t j = 0; j < kQuantBlock; ++j) {
      const float value = form == 0   ? (j % 2 == 0 ? -0.0F : 0.0F)            // nothing
                          : form == 1 ? std::round(4.0F * random.normal())     // halves, ties
                          : form == 2 ? (random.below(2) == 0 ? 1.0F : -1.0F)  // all extreme
                                      : random.normal();
      x.push_back(size * value);
    }
  }
  return x;
}

struct BlockType {
  KvType type;
  ggml_type ggml;
};
constexpr BlockType kBlockTypes[] = {{KvType::kQ8_0, GGML_TYPE_Q8_0},
                                     {KvType::kQ4_0, GGML_TYPE_Q4_0}};

TEST(ElementTypes, BlocksAreThoseOfGgmlsReferenceQuantisers) {
  prepare_ggml();
  const std::vector<float> x = blocks_to_quantise();
  const auto n = static_cast<std::int64_t>(x.size());
  for (const BlockType& block : kBlockTypes) {
    SCOPED_TRACE(kv_type_name(block.type));
    std::vector<std::byte> wanted(kv_row_bytes(block.type, x.size()));
    ASSERT_EQ(wanted.size(), ggml_row_size(block.ggml, n));
    ggml_get_type_traits(block.ggml)->from_float_ref(x.data(), wanted.data(), n);
    std::vector<float> expanded(x.size());
    ggml_get_type_traits(block.ggml)->to_float(wanted.data(), expanded.data(), n);
    for_each_table([&](const KernelTable& table) {
      Guarded<std::byte> bytes(wanted.size(), 2);
      table.encode_row(block.type, Shifted(x, 1).data(), bytes.data(), x.size());
      EXPECT_EQ(bytes.values(), wanted);
      EXPECT_TRUE(bytes.intact());
      Guarded<float> out(x.size(), 1);
      table.decode_row(block.type, bytes.data(), out.data(), x.size());
      EXPECT_TRUE(same_bits(out.span(), expanded));
      EXPECT_TRUE(out.intact());
    });
  }
}

TEST(ElementTypes, BlocksAlwaysHoldFiniteNumbers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr std::array kStrange = {kInfinity, -kInfinity, kNan,   -kNan,
                                   3e38F,     -1e30F,     1e-44F, -1e-39F};
  for_each_table([&](const KernelTable& table) {
    for (const KvType type : {KvType::kQ8_0, KvType::kQ4_0}) {
      for (const float strange : kStrange) {
        for (const std::size_t at : {0U, 13U, 31U, 32U}) {  // 32: all of them
          std::vector<float> x = Random(at).normals(kQuantBlock);
          if (at < kQuantBlock) x[at] = strange;
          if (at == kQuantBlock) x.assign(kQuantBlock, strange);
          std::vector<std::byte> block(kv_row_bytes(type, kQuantBlock));
          table.encode_row(type, x.data(), block.data(), kQuantBlock);
          std::vector<float> out(kQuantBlock);
          table.decode_row(type, block.data(), out.data(), kQuantBlock);
          for (const float value : out) {
            ASSERT_TRUE(std::isfinite(value)) << kv_type_name(type) << ' ' << strange << ' ' << at;
          }
        }
      }
    }
  });
}

TEST(ElementTypes, RowsOfAnyLengthAndAddress) {
  for_each_table([](const KernelTable& table) {
    for (const KvType type : kAllKvTypes) {
      for (std::size_t n = 0; n <= 100; ++n) {
        if (kv_type_is_quantised(type) && n % kQuantBlock != 0) continue;
        SCOPED_TRACE(std::string(kv_type_name(type)) + ", n " + std::to_string(n));
        const std::vector<float> x = Random(n).normals(n);
        const std::size_t bytes = kv_row_bytes(type, n);
        const std::size_t shift = type == KvType::kF32 ? 4 : 2;
        Guarded<std::byte> got(bytes, shift);
        Guarded<std::byte> wanted(bytes);
        table.encode_row(type, Shifted(x, n % 5).data(), got.data(), n);
        all_tables().front()->encode_row(type, x.data(), wanted.data(), n);
        EXPECT_EQ(got.values(), wanted.values());
        Guarded<float> decoded(n, n % 3);
        Guarded<float> decoded_by_ref(n);
        table.decode_row(type, got.data(), decoded.data(), n);
        all_tables().front()->decode_row(type, got.data(), decoded_by_ref.data(), n);
        EXPECT_TRUE(same_bits(decoded.span(), decoded_by_ref.span()));
        EXPECT_TRUE(got.intact() && decoded.intact());
      }
    }
  });
}

}  // namespace
}  // namespace restkv::kernel_test
