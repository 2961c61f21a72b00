#pragma once

// The queries of a sequence's newest tokens, layer by layer: what a score needs to see when it is
// made while generating. Knows no policy.

#include <cstddef>
#include <vector>

#include "restkv/types.h"
#include "restkv/views.h"

namespace restkv {

class QueryRing {
 public:
  struct Shape {
    std::size_t n_layer = 0;
    std::size_t n_head = 0;
    std::size_t head_dim = 0;
    std::size_t window = 0;  // tokens that are kept; 0 = none, and nothing may be put
  };

  QueryRing() = default;
  // Throws std::bad_alloc.
  explicit QueryRing(const Shape& shape);

  [[nodiscard]] bool keeps_any() const { return shape_.window > 0; }
  [[nodiscard]] std::size_t bytes() const { return data_.size() * sizeof(float); }

  // Notes the query of a token that is `ahead` tokens after the newest; it counts once advance()
  // has passed it. query: n_head heads of head_dim floats after RoPE, head h at query + h *
  // head_stride. REQUIRES: keeps_any(). Of several tokens put before one advance() the last
  // `window` must be put only; with one token, whose window is still whole, an advance that never
  // comes loses nothing.
  void put(std::size_t layer, std::size_t ahead, const float* query, std::size_t head_stride);
  // The next `n` tokens have been put, or the last `window` of them.
  void advance(std::size_t n);

  // Queries that a score sees when `ahead` tokens beyond the newest were put: at most `window`.
  [[nodiscard]] std::size_t count(std::size_t ahead) const;
  // Copies them, oldest first, to out [n_head, count(ahead), head_dim].
  void copy(std::size_t layer, std::size_t ahead, float* out) const;

 private:
  // One slot more than the window: a token that is put takes the place of none that counts.
  [[nodiscard]] std::size_t slots() const { return shape_.window + 1; }
  [[nodiscard]] std::size_t offset(std::size_t layer, std::size_t head, std::size_t slot) const {
    return ((layer * shape_.n_head + head) * slots() + slot) * shape_.head_dim;
  }

  Shape shape_;
  std::vector<float> data_;  // [n_layer, n_head, slots, head_dim]
  std::size_t next_ = 0;     // tokens that were ever passed; their slots follow from it
};

}  // namespace restkv
