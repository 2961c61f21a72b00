// What the eviction policies ask for.

#include <algorithm>
#include <cmath>

#include "kernels/ref/operations.h"

namespace restkv::ref {

void output_distances(const float* r, const float* center, TypedRows values, std::size_t rows,
                      std::size_t head_dim, float* out) {
  float offset[kMaxHeadDim];
  for (std::size_t j = 0; j < rows; ++j) {
    decode_row(values.type, values.data + j * kv_row_bytes(values.type, head_dim), offset,
               head_dim);
    for (std::size_t d = 0; d < head_dim; ++d) offset[d] = center[d] - offset[d];
    if (r == nullptr) {
      out[j] = std::sqrt(dot(offset, offset, head_dim));
      continue;
    }
    float squares = 0.0F;
    for (std::size_t d = 0; d < head_dim; ++d) {  // row d of R begins at its diagonal
      const float component = dot(r + d * head_dim + d, offset + d, head_dim - d);
      squares += component * component;
    }
    out[j] = std::sqrt(squares);
  }
}

void weighted_sum(const float* weight, TypedRows values, std::size_t rows, std::size_t head_dim,
                  float* out) {
  float value[kMaxHeadDim];
  std::fill_n(out, head_dim, 0.0F);
  for (std::size_t j = 0; j < rows; ++j) {
    decode_row(values.type, values.data + j * kv_row_bytes(values.type, head_dim), value, head_dim);
    axpy(weight[j], value, out, head_dim);
  }
}

void projected_sizes(const Projection& projection, TypedRows values, std::size_t rows, float* out) {
  float value[kMaxHeadDim];
  const std::size_t dim = projection.head_dim;
  for (std::size_t j = 0; j < rows; ++j) {
    decode_row(values.type, values.data + j * kv_row_bytes(values.type, dim), value, dim);
    out[j] = 0.0F;
    for (std::size_t i = 0; i < projection.n_out; ++i) {
      float component = 0.0F;
      for (std::size_t d = 0; d < dim; ++d) {
        component += value[d] * projection.columns[d * projection.n_out + i];
      }
      out[j] += std::abs(component);
    }
  }
}

}  // namespace restkv::ref
