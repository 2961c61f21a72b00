#include "engine/query_ring.h"

#include <algorithm>

#include "base/check.h"

namespace restkv {

QueryRing::QueryRing(const Shape& shape) : shape_(shape) {
  if (shape.window > 0) data_.resize(offset(shape.n_layer, 0, 0));
}

void QueryRing::put(std::size_t layer, std::size_t ahead, const float* query,
                    std::size_t head_stride) {
  RESTKV_DCHECK(keeps_any());
  const std::size_t slot = (next_ + ahead) % slots();
  for (std::size_t h = 0; h < shape_.n_head; ++h) {
    std::copy_n(query + h * head_stride, shape_.head_dim, data_.data() + offset(layer, h, slot));
  }
}

void QueryRing::advance(std::size_t n) { next_ += n; }

std::size_t QueryRing::count(std::size_t ahead) const {
  return std::min(shape_.window, next_ + ahead);
}

void QueryRing::copy(std::size_t layer, std::size_t ahead, float* out) const {
  const std::size_t n = count(ahead);
  const std::size_t first = next_ + ahead - n;
  for (std::size_t h = 0; h < shape_.n_head; ++h) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t slot = (first + i) % slots();
      out = std::copy_n(data_.data() + offset(layer, h, slot), shape_.head_dim, out);
    }
  }
}

}  // namespace restkv
