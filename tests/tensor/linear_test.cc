// Products with every weight type that ggml multiplies, against sums in double over the weights as
// ggml expands them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tensor/linear_matrices.h"

namespace restkv {
namespace {

// q4_1 and q5_1 multiply a block's offset with a sum of activations that is rounded to f16.
constexpr double kOffsetBudget = 1e-3;

const char* name_of(Product product) {
  switch (product) {
    case Product::kPacked: return "packed";
    case Product::kQuantised: return "quantised";
    case Product::kExpandedGemm: return "expanded gemm";
    case Product::kExactDot: return "exact dot";
  }
  return "?";
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
