#pragma once

// Small dense algebra that is done once per layer, not once per token.

#include <cstddef>

#include "kernels/kernels.h"

namespace restkv {

// The triangular factor of a tall matrix: r is upper triangular with R^T R = A^T A, so |A x| = |R
// x|. a: [n_col, n_row], i.e. the COLUMNS of A one after the other, each n_row floats; overwritten.
// r: [n_col, n_col] row-major, every entry written. Modified Gram-Schmidt, which gives R with the
// same backward error as Householder's method (Higham, Accuracy and Stability, 19.8), also where
// columns depend on each other; the row of such a column is rounding noise, and that of a column of
// zeros is zero. REQUIRES: n_row >= 1.
void triangular_factor(const KernelTable& kernels, float* a, std::size_t n_row, std::size_t n_col,
                       float* r);

}  // namespace restkv
