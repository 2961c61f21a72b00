#pragma once

// Lengths of rows, for the policies that weigh keys or values by them.

#include <array>
#include <cstddef>
#include <span>

#include "kernels/kernels.h"

namespace restkv {

// out[j] = | row j |, for out.size() rows of `dim` elements.
inline void row_norms(const KernelTable& kernels, TypedRows rows, std::size_t dim,
                      std::span<float> out) {
  // A norm is a distance from the origin.
  const std::array<float, kMaxHeadDim> origin = {};
  kernels.output_distances(/*r=*/nullptr, origin.data(), rows, out.size(), dim, out.data());
}

}  // namespace restkv
