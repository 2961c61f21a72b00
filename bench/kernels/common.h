#pragma once

// What the programs of this folder share.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace restkv {

// The least of `repeats` runs: the one that was disturbed least.
inline double best_seconds(int repeats, const std::function<void()>& work) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

// Normally distributed, the same every time.
inline std::vector<float> random_floats(std::size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

// The best kernels, or those that RESTKV_KERNELS names; ends the program if there are none of that
// name.
inline const KernelTable& kernels_to_time() {
  const auto table = table_by_name("");
  if (table.ok()) return **table;
  std::fprintf(stderr, "%s\n", table.error().message.c_str());
  std::exit(2);
}

}  // namespace restkv
