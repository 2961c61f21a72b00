#include "kernels/linear_algebra.h"

#include <algorithm>
#include <cmath>

namespace restkv {

void triangular_factor(const KernelTable& kernels, float* a, std::size_t n_row, std::size_t n_col,
                       float* r) {
  std::fill_n(r, n_col * n_col, 0.0F);
  for (std::size_t k = 0; k < n_col; ++k) {
    float* column = a + k * n_row;
    const float norm = std::sqrt(kernels.dot(column, column, n_row));
    r[k * n_col + k] = norm;
    if (!(norm > 0)) continue;
    for (std::size_t i = 0; i < n_row; ++i) column[i] /= norm;
    for (std::size_t j = k + 1; j < n_col; ++j) {
      float* other = a + j * n_row;
      const float projection = kernels.dot(column, other, n_row);
      r[k * n_col + j] = projection;
      kernels.axpy(-projection, column, other, n_row);
    }
  }
}

}  // namespace restkv
