#pragma once

// Rotation angles: cos and sin of every position of a chunk, in the layout that the kernels read.

#include <span>
#include <vector>

#include "model/config.h"
#include "restkv/types.h"

namespace restkv {

// What turns the pairs of a head: pair i at position p by the angle frequencies[i] * p; cos and sin
// are multiplied by the magnitude.
struct RopeFrequencies {
  std::vector<double> frequencies;  // [n_rot / 2]
  double magnitude = 1.0;
};
// frequency_factors: as RopeAngles::compute().
RopeFrequencies rope_frequencies(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
                                 std::span<const float> frequency_factors);

// Angles of one chunk of positions, for one kind of layer. Computed in double: at position 100 000
// a product of floats is already off by a percent of a turn.
class RopeAngles {
 public:
  // frequency_factors: [n_rot / 2] divisors of the angles (Llama 3), or empty.
  void compute(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
               std::span<const float> frequency_factors, std::span<const Position> positions);

  // [n_rot / 2] pairs {cos, sin} of token i of the chunk.
  [[nodiscard]] const float* row(std::size_t i) const { return data_.data() + i * row_size_; }

 private:
  std::vector<float> data_;
  std::size_t row_size_ = 0;
};

}  // namespace restkv
