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
// a product of floats is already off by a percent of a turn. A position's angles are the same bits
// in any company.
//
// A position is a multiple of 64 and a rest; sine and cosine of the sum are made of those of both.
// Those of the 64 rests are computed once for each kind of layer and those of a multiple once for
// the positions behind it. One thread does this while the others wait: with a sine and a cosine for
// each position, layer and pair it was 0.3 % of all threads' samples with two of them, now 0.05 %.
class RopeAngles {
 public:
  // frequency_factors: [n_rot / 2] divisors of the angles (Llama 3), or empty.
  void compute(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
               std::span<const float> frequency_factors, std::span<const Position> positions);

  // [n_rot / 2] pairs {cos, sin} of token i of the chunk.
  [[nodiscard]] const float* row(std::size_t i) const { return data_.data() + i * row_size_; }

 private:
  struct Turn {
    double cos = 1.0;
    double sin = 0.0;
  };
  // What is known of a kind of layer.
  struct Kind {
    RopeConfig rope;
    YarnConfig yarn;
    std::vector<float> factors;
    RopeFrequencies turns;
    std::vector<Turn> rests;    // [64][n_rot / 2]
    Position multiple = 0;      // of which
    std::vector<Turn> anchors;  // [n_rot / 2]
  };
  Kind& kind_of(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
                std::span<const float> frequency_factors);
  static void turn_all(const RopeFrequencies& turns, Position position, Turn* to);

  std::vector<Kind> kinds_;
  std::vector<float> data_;
  std::size_t row_size_ = 0;
};

}  // namespace restkv
