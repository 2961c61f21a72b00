#pragma once

// Mean and covariance of a layer's queries before RoPE, gathered chunk by chunk while the layer is
// prefilled (QueryStatistics in restkv/policy.h).

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"
#include "restkv/types.h"
#include "restkv/views.h"

namespace restkv {

class QueryAccumulator {
 public:
  QueryAccumulator(std::size_t n_head, std::size_t head_dim, int workers);

  // Forgets all queries.
  void reset();

  // Queries of a chunk as attention reads them, and how they were turned. They are turned back:
  // rotations lose nothing but the last bits.
  struct Chunk {
    View2<const float> queries;            // [tokens, n_head * head_dim], after RoPE
    std::span<const Position> positions;   // [tokens]
    std::span<const float* const> angles;  // [tokens] each [n_rot / 2] pairs {cos, sin}
    std::size_t n_rot = 0;
    bool adjacent = false;
    double magnitude = 1.0;  // of the rotation
  };
  // Blocks of 64 tokens that begin at multiples of 64, as far as the chunk goes; means and sums of
  // squares of blocks are merged in f64 (Chan, Golub and LeVeque 1979), so a large mean costs no
  // digits. The result depends neither on the threads nor on chunks that begin at multiples of 64.
  void add(const KernelTable& kernels, const Threads& threads, const Chunk& chunk);

  // What was gathered so far, to go on from there in another prefill.
  struct Saved {
    std::size_t count = 0;
    std::vector<double> means;
    std::vector<double> squares;
    [[nodiscard]] std::size_t bytes() const {
      return (means.capacity() + squares.capacity()) * sizeof(double);
    }
  };
  [[nodiscard]] Saved save() const;
  // REQUIRES: saved by an accumulator of the same shape.
  void restore(const Saved& saved);

  // Valid until the next add() or reset().
  [[nodiscard]] QueryStatistics statistics();

 private:
  struct Scratch {
    std::vector<float> rows;  // [block, head_dim]
    std::vector<float> sums;  // [head_dim, head_dim], upper triangle
    std::vector<double> mean, shift;
  };
  void add_head(const KernelTable& kernels, const Chunk& chunk, std::size_t head, std::size_t skip,
                Scratch& scratch);

  std::size_t n_head_, dim_;
  std::size_t count_ = 0;
  std::vector<double> means_;    // [n_head, head_dim]
  std::vector<double> squares_;  // [n_head, head_dim, head_dim], upper triangle, about the mean
  std::vector<double> covariances_;
  std::vector<Scratch> scratch_;
  std::vector<float> unturned_;  // [tokens, n_rot]: {cos, -sin}
};

}  // namespace restkv
