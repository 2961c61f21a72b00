// Packed products: the same bits in all tables.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/hwy/tables.h"
#include "kernels/tile_unit.h"
#include "support/tile_emulator.h"
#include "tensor/linear_matrices.h"

namespace restkv {
namespace {

// Every table that has packed products gives the bits of the plainest.
TEST(Linear, PackedProductsAreTheSameInAllTables) {
  for (const int type : {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                         GGML_TYPE_Q5_K, GGML_TYPE_Q6_K}) {
    // Up to two blocks of panels, and in each an odd one and an even one left over.
    for (const std::size_t n_out : {1U, 8U, 21U, 45U, 53U, 150U}) {
      const Matrix matrix = make_matrix(type, 512, n_out);
      for (const std::size_t m : {1U, 2U, 3U, 4U, 5U, 32U, 33U, 70U}) {
        const std::vector<float> x = random_floats(m * 512, m);
        std::vector<float> wanted;
        for (const KernelTable* kernels : all_tables()) {
          Linear linear = Linear::make(matrix.tensor(), nullptr, 512, n_out).value();
          matrix.pack(linear, *kernels);
          if (!linear.is_packed()) continue;
          const std::vector<float> got = multiply(linear, Product::kPacked, Threads(2), x);
          if (wanted.empty()) wanted = got;
          EXPECT_EQ(got, wanted) << kernels->name << ", type " << type << ", m " << m;
        }
        EXPECT_FALSE(wanted.empty());
      }
    }
  }
}

// The tile unit's table gives the same bits, with tiles of all rows and of fewer. Where the
// processor has no such unit, the test's stands in for it, an instruction at a time.
TEST(Linear, PackedProductsByTilesAreTheSame) {
  const auto tiles = compiled_table("avx3_amx");
  const auto fours = table_by_name("avx3_vnni");
  if (!tiles || !fours.ok()) GTEST_SKIP() << "needs AVX-512 VNNI";
  std::optional<TileEmulator> emulator;
  if (!tile_unit().int8) emulator.emplace();
  for (const int type : {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                         GGML_TYPE_Q5_K, GGML_TYPE_Q6_K}) {
    // Panels of three strips at once, with some left over and without; an odd number of blocks.
    for (const auto& [n_in, n_out] : {std::pair<std::size_t, std::size_t>{256, 53},
                                      {512, 16},
                                      {768, 21},
                                      {256, 90},
                                      {256, 150},
                                      {288, 90}}) {
      if (n_in % static_cast<std::size_t>(ggml_blck_size(static_cast<ggml_type>(type))) != 0) {
        continue;
      }
      const Matrix matrix = make_matrix(type, n_in, n_out);
      Linear linear = Linear::make(matrix.tensor(), nullptr, n_in, n_out).value();
      matrix.pack(linear, *tiles);
      Linear known = Linear::make(matrix.tensor(), nullptr, n_in, n_out).value();
      matrix.pack(known, **fours);
      for (const std::size_t m : {5U, 9U, 16U, 23U, 32U, 42U}) {
        const std::vector<float> x = random_floats(m * n_in, m);
        EXPECT_EQ(multiply(linear, Product::kPacked, Threads(2), x),
                  multiply(known, Product::kPacked, Threads(2), x))
            << "type " << type << ", " << n_in << " x " << n_out << ", m " << m;
      }
    }
  }
}

// Weights at the ends of their range times activations at theirs: no sum of 16 bits overflows.
TEST(Linear, PackedProductsHoldTheLargestSums) {
  for (const int type : {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                         GGML_TYPE_Q5_K, GGML_TYPE_Q6_K}) {
    for (const float sign : {1.0F, -1.0F}) {
      Matrix matrix = make_matrix(type, 256, 8);
      const std::vector<float> weights(std::size_t{256} * 8, sign);
      const std::vector<float> importance(256, 1.0F);
      ggml_quantize_chunk(static_cast<ggml_type>(type), weights.data(), matrix.data.data(), 0, 8,
                          256, importance.data());
      for (std::size_t j = 0; j < 8; ++j) {
        ggml_get_type_traits(static_cast<ggml_type>(type))
            ->to_float(matrix.data.data() + j * matrix.data.size() / 8,
                       matrix.expanded.data() + j * 256, 256);
      }
      for (const float activation : {1.0F, -1.0F}) {
        const std::vector<float> x(std::size_t{256} * 5, activation);
        const auto wanted = exact(matrix, Product::kPacked, x);
        EXPECT_LE(relative_l2(multiply(matrix.linear(), Product::kPacked, Threads(1), x), wanted),
                  kBudget);
      }
    }
  }
}

TEST(Linear, PackedProductsShowWhatIsNotFinite) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q5_0, 64, 5);
  for (const KernelTable* kernels : all_tables()) {
    Linear linear = Linear::make(matrix.tensor(), nullptr, 64, 5).value();
    matrix.pack(linear, *kernels);
    if (!linear.is_packed()) continue;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      std::vector<float> x = random_floats(std::size_t{2} * 64, 1);
      x[40] = bad;
      const std::vector<float> y = multiply(linear, Product::kPacked, Threads(1), x);
      for (std::size_t j = 0; j < 5; ++j) {
        EXPECT_TRUE(std::isnan(y[j])) << kernels->name;
        EXPECT_TRUE(std::isfinite(y[5 + j])) << kernels->name;
      }
    }
    for (const float tiny : {0.0F, -0.0F, 1e-31F, 1e-45F}) {
      const std::vector<float> y =
          multiply(linear, Product::kPacked, Threads(1), std::vector<float>(64, tiny));
      EXPECT_EQ(y, std::vector<float>(5, 0.0F)) << kernels->name;
    }
  }
}

}  // namespace
}  // namespace restkv
