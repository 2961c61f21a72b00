#include "kernels/linear_algebra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

struct Shape {
  std::size_t n_row;
  std::size_t n_col;
};
constexpr Shape kShapes[] = {{1, 1}, {5, 1}, {8, 8}, {33, 6}, {200, 40}, {97, 64}, {3, 5}};

// Largest | |A x| - |R x| | over x at random and the unit vectors, relative to |A| |x| (Frobenius).
double norm_error(const std::vector<float>& columns, const std::vector<float>& r, Shape shape) {
  double size = 0;
  for (const float value : columns) size += static_cast<double>(value) * value;
  Random random(9);
  double worst = 0;
  for (std::size_t trial = 0; trial < shape.n_col + 8; ++trial) {
    std::vector<float> x(shape.n_col);
    if (trial < shape.n_col) x[trial] = 1.0F;
    if (trial >= shape.n_col) x = random.normals(shape.n_col);
    double x_squares = 0;
    for (const float value : x) x_squares += static_cast<double>(value) * value;
    std::vector<double> ax(shape.n_row);
    std::vector<double> rx(shape.n_col);
    for (std::size_t j = 0; j < shape.n_col; ++j) {
      for (std::size_t i = 0; i < shape.n_row; ++i) {
        ax[i] += static_cast<double>(columns[j * shape.n_row + i]) * x[j];
      }
      for (std::size_t i = 0; i < shape.n_col; ++i) {
        rx[i] += static_cast<double>(r[i * shape.n_col + j]) * x[j];
      }
    }
    const auto norm = [](const std::vector<double>& v) {
      double squares = 0;
      for (const double value : v) squares += value * value;
      return std::sqrt(squares);
    };
    worst = std::max(worst, std::fabs(norm(ax) - norm(rx)) / std::sqrt(size * x_squares));
  }
  return worst;
}

std::vector<float> factor(const KernelTable& table, const std::vector<float>& columns,
                          Shape shape) {
  Guarded<float> a(columns, 1);
  Guarded<float> r(shape.n_col * shape.n_col, 2);
  triangular_factor(table, a.data(), shape.n_row, shape.n_col, r.data());
  EXPECT_TRUE(a.intact() && r.intact());
  for (std::size_t i = 0; i < shape.n_col; ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_EQ(r.data()[i * shape.n_col + j], 0.0F);
    EXPECT_GE(r.data()[i * shape.n_col + i], 0.0F);
  }
  return r.values();
}

TEST(TriangularFactor, KeepsTheNormOfEveryProduct) {
  Worst worst("triangular_factor, relative to |A| |x|");
  for_each_table([&](const KernelTable& table) {
    for (const Shape& shape : kShapes) {
      const std::vector<float> a = Random(shape.n_row).normals(shape.n_row * shape.n_col);
      EXPECT_LE(worst(norm_error(a, factor(table, a, shape), shape)), 1.0 * kUnit)
          << shape.n_row << " x " << shape.n_col;
    }
  });
}

// Repeated columns, a column of zeros and sums of others.
TEST(TriangularFactor, KeepsTheNormWithDependentColumns) {
  Worst worst("triangular_factor, dependent columns, relative to |A| |x|");
  constexpr Shape kShape = {50, 12};
  std::vector<float> a = Random(4).normals(kShape.n_row * kShape.n_col);
  for (std::size_t i = 0; i < kShape.n_row; ++i) {
    const auto column = [&](std::size_t j) -> float& { return a[j * kShape.n_row + i]; };
    column(1) = column(0);
    column(3) = 0.0F;
    column(5) = 2.0F * column(2) - column(4);
    column(11) = -1e-3F * column(0);
  }
  for_each_table([&](const KernelTable& table) {
    EXPECT_LE(worst(norm_error(a, factor(table, a, kShape), kShape)), 3.0 * kUnit);
  });
}

TEST(TriangularFactor, ZeroMatrixGivesZero) {
  for_each_table([](const KernelTable& table) {
    const std::vector<float> r = factor(table, std::vector<float>(35), {7, 5});
    EXPECT_EQ(r, std::vector<float>(25));
  });
}

// A by hand: columns (3, 4) and (5, 0) have R = [[5, 3], [0, 4]].
TEST(TriangularFactor, OfASmallMatrix) {
  for_each_table([](const KernelTable& table) {
    const std::vector<float> r = factor(table, {3, 4, 5, 0}, {2, 2});
    EXPECT_FLOAT_EQ(r[0], 5.0F);
    EXPECT_FLOAT_EQ(r[1], 3.0F);
    EXPECT_FLOAT_EQ(r[3], 4.0F);
  });
}

}  // namespace
}  // namespace restkv::kernel_test
