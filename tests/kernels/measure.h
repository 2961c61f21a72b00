#pragma once

// What the tests of the kernels share: a loop over the tables that this machine can run, buffers
// that notice a write outside, reproducible numbers and measures of error.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/aligned.h"
#include "base/random.h"
#include "kernels/kernels.h"

namespace restkv::kernel_test {

inline constexpr double kUnit = 0x1p-24;  // the largest relative error of one rounding to f32

// body(table), with the table's name in every failure message.
template <class Body>
void for_each_table(Body&& body) {
  for (const KernelTable* table : all_tables()) {
    SCOPED_TRACE("kernels " + std::string(table->name));
    body(*table);
  }
}

// The same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() { return next_random(state_); }
  // In [0, n).
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
  // Uniform in [low, high).
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24F;
  }
  // About normal, mean 0 and deviation 1: a sum of twelve.
  float normal() {
    float sum = -6.0F;
    for (int i = 0; i < 12; ++i) sum += uniform(0.0F, 1.0F);
    return sum;
  }
  std::vector<float> normals(std::size_t n, float deviation = 1.0F) {
    std::vector<float> values(n);
    for (float& value : values) value = deviation * normal();
    return values;
  }
  // Whole numbers in [-most, most]: sums of their products are exact in f32 while they are small.
  std::vector<float> integers(std::size_t n, int most) {
    std::vector<float> values(n);
    for (float& value : values) {
      value = static_cast<float>(below(static_cast<std::size_t>(2 * most + 1))) -
              static_cast<float>(most);
    }
    return values;
  }

 private:
  std::uint64_t state_;
};

// `size` elements, `shift` elements after a 64-byte boundary, with a pattern before and behind them
// that every write outside would break. For outputs; inputs lie in a std::vector, whose end the
// address sanitizer watches.
template <class T>
class Guarded {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr std::size_t kGuardBytes = 256;
  static constexpr std::byte kPattern{0xA5};

 public:
  explicit Guarded(std::size_t size, std::size_t shift = 0)
      : size_(size),
        start_(kGuardBytes + shift * sizeof(T)),
        bytes_(start_ + size * sizeof(T) + kGuardBytes) {
    std::ranges::fill(bytes_.span(), kPattern);
  }
  explicit Guarded(const std::vector<T>& values, std::size_t shift = 0)
      : Guarded(values.size(), shift) {
    std::ranges::copy(values, data());
  }

  [[nodiscard]] T* data() { return reinterpret_cast<T*>(bytes_.data() + start_); }
  [[nodiscard]] std::span<T> span() { return {data(), size_}; }
  [[nodiscard]] std::vector<T> values() { return {data(), data() + size_}; }
  [[nodiscard]] bool intact() const {
    const auto is_pattern = [](std::byte byte) { return byte == kPattern; };
    const std::span<const std::byte> all = bytes_.span();
    return std::ranges::all_of(all.first(start_), is_pattern) &&
           std::ranges::all_of(all.subspan(start_ + size_ * sizeof(T)), is_pattern);
  }

 private:
  std::size_t size_;
  std::size_t start_;
  AlignedArray<std::byte> bytes_;
};

// A copy of `values` that begins `shift` elements after an allocation's start and ends with it.
template <class T>
class Shifted {
 public:
  Shifted(const std::vector<T>& values, std::size_t shift) : all_(shift), shift_(shift) {
    all_.insert(all_.end(), values.begin(), values.end());
    all_.shrink_to_fit();
  }
  [[nodiscard]] const T* data() const { return all_.data() + shift_; }

 private:
  std::vector<T> all_;
  std::size_t shift_;
};

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// |got - wanted| / |wanted| over the whole array. Infinite when something is not finite.
inline double relative_l2(std::span<const float> got, std::span<const double> wanted) {
  EXPECT_EQ(got.size(), wanted.size());
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - wanted[i];
    error += difference * difference;
    size += wanted[i] * wanted[i];
  }
  if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
  return size > 0 ? std::sqrt(error / size) : std::sqrt(error);
}

// The largest value so far of a measured error. Printed at the end of a test's life when the
// environment asks for it, so that budgets can be set from what was measured.
class Worst {
 public:
  explicit Worst(const char* what) : what_(what) {}
  Worst(const Worst&) = delete;
  Worst& operator=(const Worst&) = delete;
  ~Worst() {
    if (std::getenv("RESTKV_TEST_PRINT_ERRORS") != nullptr) {
      std::printf("%s: %.3g\n", what_.c_str(), value_);
    }
  }
  double operator()(double value) {
    if (!(value <= value_)) value_ = value;
    return value;
  }

 private:
  std::string what_;
  double value_ = 0;
};

}  // namespace restkv::kernel_test
