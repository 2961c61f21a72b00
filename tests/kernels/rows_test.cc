// Operations on rows: every table, lengths around whole vectors, all misalignments of f32, against
// sums in double. Error budgets are in roundings to f32 (kUnit); docs/kernels.md repeats them.

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

constexpr std::size_t kLengths[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,  12,  15,  16,  17,
                                    23, 31, 32, 33, 40, 63, 64, 65, 96, 127, 128, 130, 897};
constexpr std::size_t kShifts[] = {0, 1, 2, 3, 5};

// body(table, n, shift) for all of them.
template <class Body>
void for_each_row(Body&& body) {
  for_each_table([&](const KernelTable& table) {
    for (const std::size_t n : kLengths) {
      for (const std::size_t shift : kShifts) {
        SCOPED_TRACE("n " + std::to_string(n) + ", shift " + std::to_string(shift));
        body(table, n, shift);
      }
    }
  });
}

TEST(Rows, DotOfSmallIntegersIsExact) {
  for_each_row([](const KernelTable& table, std::size_t n, std::size_t shift) {
    Random random(n * 8 + shift);
    const std::vector<float> a = random.integers(n, 63);
    const std::vector<float> b = random.integers(n, 63);
    double wanted = 0;
    for (std::size_t i = 0; i < n; ++i) wanted += static_cast<double>(a[i]) * b[i];
    EXPECT_EQ(table.dot(Shifted(a, shift).data(), Shifted(b, 1).data(), n), wanted);
  });
}

// Of n products one after the other, an error of sqrt(n) / 3 roundings of the sum of |a * b| is
// rare; the vectorised sums stay far below.
TEST(Rows, DotIsNearTheExactSum) {
  Worst worst("dot, roundings of sum |ab| / sqrt(n)");
  for_each_row([&](const KernelTable& table, std::size_t n, std::size_t shift) {
    Random random(n * 8 + shift);
    const std::vector<float> a = random.normals(n);
    const std::vector<float> b = random.normals(n);
    double wanted = 0;
    double size = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double product = static_cast<double>(a[i]) * b[i];
      wanted += product;
      size += std::fabs(product);
    }
    const double got = table.dot(Shifted(a, shift).data(), Shifted(b, 1).data(), n);
    const double budget = kUnit * size * std::sqrt(static_cast<double>(n));
    if (n == 0) {
      EXPECT_EQ(got, 0.0);
    } else {
      EXPECT_LE(worst(std::fabs(got - wanted) / budget), 1.0);
    }
  });
}

TEST(Rows, AxpyRoundsAtMostTwice) {
  for_each_row([](const KernelTable& table, std::size_t n, std::size_t shift) {
    Random random(n * 8 + shift);
    const std::vector<float> x = random.normals(n);
    const std::vector<float> before = random.normals(n);
    Guarded<float> y(before, shift);
    const float scale = random.normal();
    table.axpy(scale, Shifted(x, 2).data(), y.data(), n);
    EXPECT_TRUE(y.intact());
    for (std::size_t i = 0; i < n; ++i) {
      const double product = static_cast<double>(scale) * x[i];
      const double wanted = product + before[i];
      const double budget = kUnit * (std::fabs(product) + std::fabs(wanted)) * 1.0001;
      EXPECT_NEAR(y.span()[i], wanted, budget) << i;
    }
  });
}

TEST(Rows, AddRoundsOnce) {
  for_each_row([](const KernelTable& table, std::size_t n, std::size_t shift) {
    Random random(n * 8 + shift);
    const std::vector<float> x = random.normals(n);
    std::vector<float> wanted = random.normals(n);
    Guarded<float> y(wanted, shift);
    table.add(Shifted(x, 3).data(), y.data(), n);
    for (std::size_t i = 0; i < n; ++i) wanted[i] += x[i];
    EXPECT_TRUE(same_bits(y.span(), wanted));
    EXPECT_TRUE(y.intact());
  });
}

// The factor carries the error of a sum of squares; then come one or two products.
TEST(Rows, RmsNorm) {
  Worst worst("rms_norm, roundings");
  for_each_row([&](const KernelTable& table, std::size_t n, std::size_t shift) {
    if (n == 0) return;
    Random random(n * 8 + shift);
    const std::vector<float> x = random.normals(n, 3.0F);
    const std::vector<float> weight = random.normals(n);
    constexpr float kEps = 1e-5F;
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + kEps);
    for (const bool weighted : {false, true}) {
      Guarded<float> in_place(x, shift);
      Guarded<float> apart(n, 3);
      const Shifted<float> weights(weight, 1);
      const float* const w = weighted ? weights.data() : nullptr;
      table.rms_norm(in_place.data(), w, kEps, apart.data(), n);
      EXPECT_TRUE(same_bits(in_place.span(), x));
      table.rms_norm(in_place.data(), w, kEps, in_place.data(), n);
      EXPECT_TRUE(same_bits(in_place.span(), apart.span()));
      EXPECT_TRUE(in_place.intact() && apart.intact());
      for (std::size_t i = 0; i < n; ++i) {
        const double wanted = x[i] * factor * (weighted ? weight[i] : 1.0F);
        const double error = std::fabs(apart.span()[i] - wanted) / std::fabs(wanted) / kUnit;
        EXPECT_LE(worst(error), 5.0) << i;
      }
    }
  });
}

TEST(Rows, RmsNormOfZerosIsZero) {
  for_each_table([](const KernelTable& table) {
    const std::vector<float> zeros(37);
    std::vector<float> out(37, 1.0F);
    table.rms_norm(zeros.data(), nullptr, 1e-6F, out.data(), out.size());
    EXPECT_TRUE(same_bits(out, zeros));
  });
}

// Gates from -120 to 120, densest around zero; and zeros, tiny and huge ones.
std::vector<float> gates() {
  std::vector<float> values = {0.0F, -0.0F, 1e-30F, -1e-30F, 1e-39F, 3e4F, -3e4F, 87.0F, -87.5F};
  for (int i = -600; i <= 600; ++i) {
    const float x = static_cast<float>(i) / 100.0F;
    values.push_back(x);
    values.push_back(x * std::fabs(x) * (120.0F / 36.0F));
  }
  return values;
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }
double gelu(double x) {
  const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}

// Below -87 the exponential is no longer followed: silu may stop at gate * e^-87 instead of 0.
TEST(Rows, SiluIsRelativelyExact) {
  Worst worst("silu_mul, roundings");
  const std::vector<float> x = gates();
  for_each_table([&](const KernelTable& table) {
    Guarded<float> gate(x, 1);
    const std::vector<float> up = Random(1).normals(x.size());
    table.silu_mul(gate.data(), up.data(), x.size());
    EXPECT_TRUE(gate.intact());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = silu(x[i]) * up[i];
      const double product = std::fabs(static_cast<double>(x[i]) * up[i]);
      const double vanishing = product * std::exp(-87.0) + 0x1p-146;  // subnormals have few bits
      const double error = std::max(0.0, std::fabs(gate.span()[i] - wanted) - vanishing);
      if (error == 0.0) continue;
      EXPECT_LE(worst(error / std::fabs(wanted) / kUnit), 5.0) << x[i];
    }
  });
}

// For negative gates the plain formula cancels, so the budget is relative to the gate.
TEST(Rows, GeluIsExactRelativeToTheGate) {
  Worst worst("gelu_mul, roundings of |gate * up|");
  const std::vector<float> x = gates();
  for_each_table([&](const KernelTable& table) {
    Guarded<float> gate(x, 3);
    const std::vector<float> up = Random(2).normals(x.size());
    table.gelu_mul(gate.data(), up.data(), x.size());
    EXPECT_TRUE(gate.intact());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = gelu(x[i]) * up[i];
      const double size = std::fabs(static_cast<double>(x[i]) * up[i]) + 1e-37;
      EXPECT_LE(worst(std::fabs(gate.span()[i] - wanted) / size / kUnit), 4.0) << x[i];
    }
  });
}

TEST(Rows, ActivationsOfShortRowsMatchThoseOfLongOnes) {
  for_each_row([](const KernelTable& table, std::size_t n, std::size_t shift) {
    Random random(n * 8 + shift);
    const std::vector<float> x = random.normals(n, 4.0F);
    const std::vector<float> up = random.normals(n);
    Guarded<float> silu_gate(x, shift);
    Guarded<float> gelu_gate(x, shift);
    table.silu_mul(silu_gate.data(), Shifted(up, 1).data(), n);
    table.gelu_mul(gelu_gate.data(), Shifted(up, 1).data(), n);
    EXPECT_TRUE(silu_gate.intact() && gelu_gate.intact());
    for (std::size_t i = 0; i < n; ++i) {
      const double budget = 5.0 * kUnit * std::fabs(static_cast<double>(x[i]) * up[i]);
      EXPECT_NEAR(silu_gate.span()[i], silu(x[i]) * up[i], budget) << i;
      EXPECT_NEAR(gelu_gate.span()[i], gelu(x[i]) * up[i], budget) << i;
    }
  });
}

struct Rope {
  const char* name;
  void (*KernelTable::*rotate)(float*, const float*, std::size_t);
  std::size_t (*partner_of)(std::size_t pair, std::size_t n_rot);
  std::size_t (*first_of)(std::size_t pair);
};
constexpr Rope kRopes[] = {
    {"adjacent", &KernelTable::rope_adjacent,
     [](std::size_t pair, std::size_t /*n_rot*/) { return 2 * pair + 1; },
     [](std::size_t pair) { return 2 * pair; }},
    {"halves", &KernelTable::rope_halves,
     [](std::size_t pair, std::size_t n_rot) { return pair + n_rot / 2; },
     [](std::size_t pair) { return pair; }},
};

// Two products and a sum: at most a rounding of each.
TEST(Rows, RopeTurnsPairsAndNothingElse) {
  for (const Rope& rope : kRopes) {
    SCOPED_TRACE(rope.name);
    for_each_row([&](const KernelTable& table, std::size_t n, std::size_t shift) {
      if (n % 2 != 0) return;
      Random random(n * 8 + shift);
      const std::vector<float> before = random.normals(n + 9);  // more than is turned
      std::vector<float> cos_sin;
      for (std::size_t i = 0; i < n / 2; ++i) {
        const float angle = random.uniform(-100.0F, 100.0F);
        cos_sin.push_back(std::cos(angle));
        cos_sin.push_back(std::sin(angle));
      }
      Guarded<float> x(before, shift);
      (table.*rope.rotate)(x.data(), Shifted(cos_sin, 1).data(), n);
      EXPECT_TRUE(x.intact());
      EXPECT_TRUE(same_bits(x.span().subspan(n), std::span(before).subspan(n)));
      for (std::size_t pair = 0; pair < n / 2; ++pair) {
        const double a = before[rope.first_of(pair)];
        const double b = before[rope.partner_of(pair, n)];
        const double cos = cos_sin[2 * pair];
        const double sin = cos_sin[2 * pair + 1];
        const double budget = 2.0001 * kUnit * (std::fabs(a) + std::fabs(b)) *
                              std::max(std::fabs(cos), std::fabs(sin));
        EXPECT_NEAR(x.span()[rope.first_of(pair)], a * cos - b * sin, budget) << pair;
        EXPECT_NEAR(x.span()[rope.partner_of(pair, n)], a * sin + b * cos, budget) << pair;
      }
    });
  }
}

}  // namespace
}  // namespace restkv::kernel_test
