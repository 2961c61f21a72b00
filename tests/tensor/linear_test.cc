// Products with every weight type that ggml multiplies, against sums in double over the weights as
// ggml expands them.

#include "tensor/linear.h"

#include <ggml-cpu.h>
#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/hwy/tables.h"
#include "kernels/tile_unit.h"
#include "support/gguf_writer.h"
#include "support/tile_emulator.h"
#include "tensor/weight_types.h"

namespace restkv {
namespace {

// Relative L2 over all outputs, for f32 products and for ggml's products of rounded activations.
constexpr double kBudget = 5e-7;
// q4_1 and q5_1 multiply a block's offset with a sum of activations that is rounded to f16.
constexpr double kOffsetBudget = 1e-3;

constexpr Product kProducts[] = {Product::kPacked, Product::kQuantised, Product::kExpandedGemm,
                                 Product::kExactDot};

const char* name_of(Product product) {
  switch (product) {
    case Product::kPacked: return "packed";
    case Product::kQuantised: return "quantised";
    case Product::kExpandedGemm: return "expanded gemm";
    case Product::kExactDot: return "exact dot";
  }
  return "?";
}

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> values(n);
  for (float& value : values) {
    value = -6.0F;
    for (int i = 0; i < 12; ++i) value += static_cast<float>(next_random(seed) >> 40) * 0x1p-24F;
  }
  return values;
}

// A matrix of a type, what its rows mean, and a bias.
struct Matrix {
  int type;
  std::size_t n_in;
  std::size_t n_out;
  std::vector<std::byte> data;
  std::vector<float> expanded;  // [n_out, n_in]
  std::vector<float> bias;      // [n_out]

  [[nodiscard]] TensorData tensor() const {
    return {.name = "blk.0.attn_q.weight",
            .type = type,
            .ne = {static_cast<std::int64_t>(n_in), static_cast<std::int64_t>(n_out)},
            .data = data.data(),
            .bytes = data.size()};
  }
  [[nodiscard]] TensorData bias_tensor() const {
    return {.name = "blk.0.attn_q.bias",
            .type = GGML_TYPE_F32,
            .ne = {static_cast<std::int64_t>(n_out)},
            .data = reinterpret_cast<const std::byte*>(bias.data()),
            .bytes = bias.size() * sizeof(float)};
  }
  // Packed for the best table here, if the type can be.
  [[nodiscard]] Linear linear() const {
    const TensorData with_bias = bias_tensor();
    Linear linear = Linear::make(tensor(), &with_bias, n_in, n_out).value();
    pack(linear, best_table());
    return linear;
  }
  void pack(Linear& linear, const KernelTable& kernels) const {
    const std::size_t bytes = linear.packed_bytes(kernels);
    if (bytes == 0) return;
    packed.push_back(AlignedArray<std::byte>(bytes));
    linear.pack(Threads(2), kernels, packed.back().data());
  }

  mutable std::vector<AlignedArray<std::byte>> packed;
};

std::vector<Product> products_of(const Linear& linear) {
  std::vector<Product> products(std::begin(kProducts), std::end(kProducts));
  if (!linear.is_packed()) std::erase(products, Product::kPacked);
  return products;
}

// ggml searches seconds for these types' tables before it quantises.
bool is_slow_to_quantise(ggml_type type) {
  constexpr ggml_type kSlow[] = {GGML_TYPE_IQ1_S, GGML_TYPE_IQ1_M, GGML_TYPE_IQ2_XXS,
                                 GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S};
  return std::ranges::find(kSlow, type) != std::end(kSlow);
}

// Blocks of such a type: any bits are weights, but for the scale, an f16, which is made 1.
void draw_blocks(ggml_type type, std::vector<std::byte>& data) {
  std::uint64_t state = 11;
  for (std::byte& byte : data) byte = static_cast<std::byte>(next_random(state));
  const std::size_t block_bytes = ggml_type_size(type);
  for (std::size_t at = 0; at < data.size(); at += block_bytes) {
    std::byte* const block = data.data() + at;
    if (type != GGML_TYPE_IQ1_M) {
      block[0] = std::byte{0x00};
      block[1] = std::byte{0x3C};
      continue;
    }
    // Here the scale's nibbles are the high ones of the last four 16-bit numbers.
    constexpr unsigned kNibbles[] = {0x0, 0x0, 0xC, 0x3};
    for (std::size_t i = 0; i < 4; ++i) {
      std::byte& high = block[block_bytes - 8 + 2 * i + 1];
      high = (high & std::byte{0x0F}) | static_cast<std::byte>(kNibbles[i] << 4);
    }
  }
}

Matrix make_matrix(int type, std::size_t n_in, std::size_t n_out) {
  const auto kind = static_cast<ggml_type>(type);
  const auto cols = static_cast<std::int64_t>(n_in);
  Matrix matrix{.type = type,
                .n_in = n_in,
                .n_out = n_out,
                .data = {},
                .expanded = {},
                .bias = {},
                .packed = {}};
  matrix.data.resize(ggml_row_size(kind, cols) * n_out);
  if (is_slow_to_quantise(kind)) {
    draw_blocks(kind, matrix.data);
  } else {
    const std::vector<float> weights = random_floats(n_in * n_out, n_in + n_out);
    const std::vector<float> importance(n_in, 1.0F);
    ggml_quantize_chunk(kind, weights.data(), matrix.data.data(), /*start=*/0,
                        static_cast<std::int64_t>(n_out), cols, importance.data());
  }
  matrix.expanded.resize(n_in * n_out);
  for (std::size_t j = 0; j < n_out; ++j) {
    const std::byte* const row = matrix.data.data() + j * ggml_row_size(kind, cols);
    float* const out = matrix.expanded.data() + j * n_in;
    if (kind == GGML_TYPE_F32) {
      std::memcpy(out, row, n_in * sizeof(float));
    } else {
      ggml_get_type_traits(kind)->to_float(row, out, cols);
    }
  }
  matrix.bias = random_floats(n_out, 3);
  return matrix;
}

// Every type that can hold weights and that ggml has a product for.
std::vector<int> weight_types() {
  std::vector<int> types;
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    if (can_quantise(type) && weight_type_info(type).multiplies()) types.push_back(type);
  }
  return types;
}

// A row of activations after its round trip through the partner type, in double.
std::vector<double> rounded_row(const WeightType& type, const float* x, std::size_t n) {
  std::vector<std::byte> bytes(type.partner_bytes(n));
  type.to_partner(x, bytes.data(), static_cast<std::int64_t>(n));
  std::vector<float> wide(n);
  const auto blocks = static_cast<std::size_t>(ggml_blck_size(type.partner));
  const std::size_t block_bytes = ggml_type_size(type.partner);
  // ggml cannot expand these two: a scale (f32, or f16 and a sum that is not needed), then the
  // quants.
  const auto expand_blocks = [&](std::size_t quants_at, auto&& scale_of) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::byte* const block = bytes.data() + i / blocks * block_bytes;
      const auto quant = static_cast<std::int8_t>(block[quants_at + i % blocks]);
      wide[i] = scale_of(block) * static_cast<float>(quant);
    }
  };
  if (type.partner == GGML_TYPE_Q8_K) {
    expand_blocks(4, [](const std::byte* block) {
      float scale = 0;
      std::memcpy(&scale, block, sizeof(scale));
      return scale;
    });
  } else if (type.partner == GGML_TYPE_Q8_1) {
    expand_blocks(4, [](const std::byte* block) {
      ggml_fp16_t scale = 0;
      std::memcpy(&scale, block, sizeof(scale));
      return ggml_fp16_to_fp32(scale);
    });
  } else if (type.partner == GGML_TYPE_F32) {
    wide.assign(x, x + n);
  } else {
    ggml_get_type_traits(type.partner)
        ->to_float(bytes.data(), wide.data(), static_cast<std::int64_t>(n));
  }
  return {wide.begin(), wide.end()};
}

// The same through packed products: 8 bits with one f32 scale for each 32.
std::vector<double> rounded_in_blocks(const float* x, std::size_t n) {
  std::vector<double> seen(n);
  for (std::size_t first = 0; first < n; first += kPackedBlock) {
    float largest = 0;
    for (std::size_t i = first; i < first + kPackedBlock; ++i)
      largest = std::max(largest, std::fabs(x[i]));
    for (std::size_t i = first; i < first + kPackedBlock; ++i) {
      seen[i] = std::nearbyint(x[i] * (127.0F / largest)) * (largest / 127.0F);
    }
  }
  return seen;
}

// y = x W^T + b, [m, n_out], with the activations as the product sees them.
std::vector<double> exact(const Matrix& matrix, Product product, const std::vector<float>& x) {
  const std::size_t m = x.size() / matrix.n_in;
  std::vector<double> y(m * matrix.n_out);
  for (std::size_t i = 0; i < m; ++i) {
    const float* const row = x.data() + i * matrix.n_in;
    const std::vector<double> seen =
        product == Product::kQuantised
            ? rounded_row(weight_type_info(matrix.type), row, matrix.n_in)
        : product == Product::kPacked ? rounded_in_blocks(row, matrix.n_in)
                                      : std::vector<double>(row, row + matrix.n_in);
    for (std::size_t j = 0; j < matrix.n_out; ++j) {
      double sum = matrix.bias[j];
      const float* const weights = matrix.expanded.data() + j * matrix.n_in;
      const double* const activations = seen.data();
      for (std::size_t k = 0; k < matrix.n_in; ++k) sum += activations[k] * weights[k];
      y[i * matrix.n_out + j] = sum;
    }
  }
  return y;
}

double relative_l2(const std::vector<float>& got, const std::vector<double>& wanted) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::isfinite(error) ? std::sqrt(error / size) : std::numeric_limits<double>::infinity();
}

std::vector<float> multiply(const Linear& linear, Product product, const Threads& threads,
                            const std::vector<float>& x) {
  static LinearScratch scratch;  // grows from test to test, as an engine's does
  const std::size_t m = x.size() / linear.n_in();
  std::vector<float> y(m * linear.n_out(), std::numeric_limits<float>::quiet_NaN());
  linear.forward(threads, product, scratch, {x.data(), m, linear.n_in()},
                 {y.data(), m, linear.n_out()});
  return y;
}

// body(matrix) for every type and a few shapes: rows of one and more blocks, outputs around tiles
// of 16 and blocks of 256 rows.
template <class Body>
void for_each_matrix(Body&& body) {
  for (const int type : weight_types()) {
    const auto kind = static_cast<ggml_type>(type);
    const auto block = static_cast<std::size_t>(ggml_blck_size(kind));
    std::vector<Matrix> matrices;
    matrices.push_back(make_matrix(type, std::max<std::size_t>(block, 32), 5));
    matrices.push_back(make_matrix(type, 512, 19));
    if (block <= 32) matrices.push_back(make_matrix(type, 96, 33));
    if (block == 1) matrices.push_back(make_matrix(type, 37, 3));
    if (type == GGML_TYPE_Q8_0 || type == GGML_TYPE_Q4_K || type == GGML_TYPE_F32) {
      matrices.push_back(make_matrix(type, 256, 300));
    }
    for (const Matrix& matrix : matrices) {
      SCOPED_TRACE(std::string(ggml_type_name(kind)) + ' ' + std::to_string(matrix.n_in) + " x " +
                   std::to_string(matrix.n_out));
      body(matrix);
    }
  }
}

TEST(Linear, HoldsTheUsualTypes) {
  const std::vector<int> types = weight_types();
  for (const int type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q4_0,
                         GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,
                         GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K,
                         GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4}) {
    EXPECT_NE(std::ranges::find(types, type), types.end());
  }
}

TEST(Linear, EveryProductIsNearTheExactSum) {
  const bool print = std::getenv("RESTKV_TEST_PRINT_ERRORS") != nullptr;
  for_each_matrix([&](const Matrix& matrix) {
    const Linear linear = matrix.linear();
    const int partner = weight_type_info(matrix.type).partner;
    for (const std::size_t m : {1U, 3U, 33U}) {
      const std::vector<float> x = random_floats(m * matrix.n_in, m);
      const std::vector<double> wanted_in_f32 = exact(matrix, Product::kExactDot, x);
      for (const Product product : products_of(linear)) {
        const bool rounded = product == Product::kQuantised || product == Product::kPacked;
        const bool offset = product == Product::kQuantised && partner == GGML_TYPE_Q8_1;
        const std::vector<double> wanted = rounded ? exact(matrix, product, x) : wanted_in_f32;
        const double error = relative_l2(multiply(linear, product, Threads(1), x), wanted);
        EXPECT_LE(error, offset ? kOffsetBudget : kBudget) << name_of(product) << ", m " << m;
        if (print) {
          std::printf("%s %s %zu m %zu: %.2g\n",
                      ggml_type_name(static_cast<ggml_type>(matrix.type)), name_of(product),
                      matrix.n_in, m, error);
        }
      }
    }
  });
}

TEST(Linear, RowsDoNotDependOnCompanyOrThreads) {
  for_each_matrix([](const Matrix& matrix) {
    const Linear linear = matrix.linear();
    const std::vector<float> x = random_floats(33 * matrix.n_in, 33);
    for (const Product product : products_of(linear)) {
      if (product == Product::kExpandedGemm) continue;
      SCOPED_TRACE(name_of(product));
      const std::vector<float> whole = multiply(linear, product, Threads(1), x);
      EXPECT_EQ(multiply(linear, product, Threads(3), x), whole) << "three threads";
      for (const std::size_t m : {1U, 5U}) {
        for (const std::size_t first : {0U, 13U, 28U}) {
          const auto from = x.begin() + static_cast<std::ptrdiff_t>(first * matrix.n_in);
          const std::vector<float> some(from, from + static_cast<std::ptrdiff_t>(m * matrix.n_in));
          const auto at = whole.begin() + static_cast<std::ptrdiff_t>(first * matrix.n_out);
          const std::vector<float> wanted(at, at + static_cast<std::ptrdiff_t>(m * matrix.n_out));
          EXPECT_EQ(multiply(linear, product, Threads(1), some), wanted) << m << " at " << first;
        }
      }
    }
  });
}

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

TEST(Linear, ExpandedGemmDoesNotDependOnThreads) {
  for (const auto& [n_in, n_out] : {std::pair<std::size_t, std::size_t>{256, 300}, {768, 1000}}) {
    const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, n_in, n_out);
    for (const std::size_t m : {1U, 3U, 33U, 200U}) {
      const std::vector<float> x = random_floats(m * n_in, m);
      const auto of = [&](int count) {
        return multiply(matrix.linear(), Product::kExpandedGemm, Threads(count), x);
      };
      const std::vector<float> alone = of(1);
      for (const int count : {2, 3}) EXPECT_EQ(of(count), alone) << m << ", " << count;
    }
  }
}

// Rows of x and y lie inside wider rows; what is between them stays.
TEST(Linear, TakesStridedRows) {
  constexpr std::size_t kRows = 6;
  constexpr std::size_t kGap = 5;
  for (const int type : {GGML_TYPE_F32, GGML_TYPE_Q8_0, GGML_TYPE_Q4_1}) {
    const Matrix matrix = make_matrix(type, 64, 21);
    const std::vector<float> x = random_floats(kRows * 64, 1);
    std::vector<float> wide_x(kRows * (64 + kGap), std::numeric_limits<float>::quiet_NaN());
    for (std::size_t i = 0; i < kRows; ++i) {
      std::copy_n(x.data() + i * 64, 64, wide_x.data() + i * (64 + kGap));
    }
    for (const Product product : products_of(matrix.linear())) {
      const std::vector<float> wanted = multiply(matrix.linear(), product, Threads(2), x);
      std::vector<float> y(kRows * (21 + kGap), 9.0F);
      LinearScratch scratch;
      matrix.linear().forward(Threads(2), product, scratch, {wide_x.data(), kRows, 64, 64 + kGap},
                              {y.data(), kRows, 21, 21 + kGap});
      for (std::size_t i = 0; i < kRows; ++i) {
        for (std::size_t j = 0; j < 21 + kGap; ++j) {
          EXPECT_EQ(y[i * (21 + kGap) + j], j < 21 ? wanted[i * 21 + j] : 9.0F)
              << name_of(product) << ' ' << i << ' ' << j;
        }
      }
    }
  }
}

TEST(Linear, SeveralAtOnceAreAsOneByOne) {
  // Partner types q8_0, q8_K, f16 and q8_0 again, one without a bias.
  const Matrix matrices[] = {
      make_matrix(GGML_TYPE_Q4_0, 256, 40), make_matrix(GGML_TYPE_Q6_K, 256, 8),
      make_matrix(GGML_TYPE_F16, 256, 17), make_matrix(GGML_TYPE_Q8_0, 256, 8)};
  for (const Product product : kProducts) {
    for (const std::size_t m : {1U, 20U}) {
      const std::vector<float> x = random_floats(m * 256, m);
      std::vector<Linear> linears;
      std::vector<std::vector<float>> outputs;
      for (const Matrix& matrix : matrices) {
        linears.push_back(matrix.linear());
        outputs.emplace_back(m * matrix.n_out);
      }
      linears[1] = Linear::make(matrices[1].tensor(), nullptr, 256, 8).value();
      const auto of = [product](const Linear& linear) {
        return product == Product::kPacked && !linear.is_packed() ? Product::kQuantised : product;
      };
      std::vector<Linear::Task> tasks;
      for (std::size_t i = 0; i < linears.size(); ++i) {
        tasks.push_back({&linears[i], of(linears[i]), {outputs[i].data(), m, linears[i].n_out()}});
      }
      LinearScratch scratch;
      Linear::forward_all(Threads(2), scratch, {x.data(), m, 256}, tasks);
      for (std::size_t i = 0; i < linears.size(); ++i) {
        EXPECT_EQ(outputs[i], multiply(linears[i], of(linears[i]), Threads(1), x))
            << name_of(product);
      }
    }
  }
}

TEST(Linear, NoRowsAreNoWork) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 32, 4);
  for (const Product product : kProducts) {
    EXPECT_TRUE(multiply(matrix.linear(), product, Threads(2), {}).empty());
  }
}

TEST(Linear, ExpandsItsRows) {
  for_each_matrix([](const Matrix& matrix) {
    const Linear linear = matrix.linear();
    EXPECT_EQ(linear.bytes(), matrix.data.size());
    EXPECT_EQ(linear.weight_type(), matrix.type);
    std::vector<float> all(matrix.expanded.size());
    for (std::size_t j = 0; j < matrix.n_out; ++j)
      linear.expand_row(j, all.data() + j * matrix.n_in);
    EXPECT_EQ(all, matrix.expanded);
  });
}

Error error_of(const Result<Linear>& linear) {
  EXPECT_FALSE(linear.ok());
  return linear.ok() ? Error{} : linear.error();
}

TEST(LinearMake, RefusesAnotherShape) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 64, 4);
  EXPECT_TRUE(Linear::make(matrix.tensor(), nullptr, 64, 4).ok());
  for (const auto& [n_in, n_out] : {std::pair<std::size_t, std::size_t>{32, 4}, {64, 5}, {4, 64}}) {
    const Error error = error_of(Linear::make(matrix.tensor(), nullptr, n_in, n_out));
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_EQ(error.message, "tensor blk.0.attn_q.weight [64, 4] q8_0 should be [" +
                                 std::to_string(n_in) + ", " + std::to_string(n_out) + "]");
  }
}

TEST(LinearMake, RefusesRowsOfBrokenBlocks) {
  TensorData tensor = make_matrix(GGML_TYPE_Q4_0, 64, 4).tensor();
  tensor.ne[0] = 48;
  const Error error = error_of(Linear::make(tensor, nullptr, 48, 4));
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_NE(error.message.find("whole blocks of 32"), std::string::npos) << error.message;
}

TEST(LinearMake, RefusesTypesThatCannotBeMultiplied) {
  for (const int type : {GGML_TYPE_I32, GGML_TYPE_I8, GGML_TYPE_F64, GGML_TYPE_Q8_K}) {
    TensorData tensor = make_matrix(GGML_TYPE_F32, 256, 4).tensor();
    tensor.type = type;
    const Error error = error_of(Linear::make(tensor, nullptr, 256, 4));
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    const std::string name = ggml_type_name(static_cast<ggml_type>(type));
    EXPECT_EQ(error.message, "tensor blk.0.attn_q.weight [256, 4] " + name +
                                 " has a type that cannot be multiplied");
  }
}

TEST(LinearMake, RefusesAnotherBias) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 64, 4);
  const TensorData good = matrix.bias_tensor();
  TensorData too_long = good;
  too_long.ne = {5};
  TensorData of_halves = good;
  of_halves.type = GGML_TYPE_F16;
  TensorData flat = good;
  flat.ne = {4, 1};
  EXPECT_TRUE(Linear::make(matrix.tensor(), &good, 64, 4).ok());
  for (const TensorData& bias : {too_long, of_halves, flat}) {
    const Error error = error_of(Linear::make(matrix.tensor(), &bias, 64, 4));
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_EQ(error.message, "tensor " + bias.describe() + " should be [4] f32");
  }
}

TEST(ProductTable, ForcedProductsAreTaken) {
  for (const std::size_t n_token : {1U, 4U, 5U, 31U, 32U, 100'000U}) {
    EXPECT_EQ(prefill_product(ProductChoice::kQuantised, n_token), Product::kQuantised);
    EXPECT_NE(prefill_product(ProductChoice::kF32, n_token), Product::kQuantised);
  }
  EXPECT_EQ(prefill_product(ProductChoice::kAuto, 1), Product::kQuantised);
  EXPECT_EQ(prefill_product(ProductChoice::kAuto, 100'000), Product::kExpandedGemm);
  EXPECT_EQ(decode_product(ProductChoice::kF32), Product::kExactDot);
  for (const ProductChoice choice : {ProductChoice::kAuto, ProductChoice::kQuantised}) {
    EXPECT_EQ(decode_product(choice), Product::kQuantised);
  }
}

}  // namespace
}  // namespace restkv
