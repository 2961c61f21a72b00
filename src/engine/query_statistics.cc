#include "engine/query_statistics.h"

#include <algorithm>

#include "base/check.h"

namespace restkv {
namespace {

constexpr std::size_t kBlock = 64;

}  // namespace

QueryAccumulator::QueryAccumulator(std::size_t n_head, std::size_t head_dim, int workers)
    : n_head_(n_head),
      dim_(head_dim),
      means_(n_head * head_dim),
      squares_(n_head * head_dim * head_dim),
      covariances_(n_head * head_dim * head_dim),
      scratch_(static_cast<std::size_t>(workers)) {
  for (Scratch& scratch : scratch_) {
    scratch.rows.resize(kBlock * dim_);
    scratch.sums.resize(dim_ * dim_);
    scratch.mean.resize(dim_);
    scratch.shift.resize(dim_);
  }
}

void QueryAccumulator::reset() {
  count_ = 0;
  std::ranges::fill(means_, 0.0);
  std::ranges::fill(squares_, 0.0);
}

void QueryAccumulator::add(const KernelTable& kernels, const Threads& threads, const Chunk& chunk) {
  const std::size_t tokens = chunk.positions.size();
  const auto skip = static_cast<std::size_t>(
      std::ranges::lower_bound(chunk.positions, kStatisticsStart) - chunk.positions.begin());
  if (skip == tokens) return;
  unturned_.resize(tokens * chunk.n_rot);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = 0; i < chunk.n_rot; i += 2) {
      unturned_[t * chunk.n_rot + i] = chunk.angles[t][i];
      unturned_[t * chunk.n_rot + i + 1] = -chunk.angles[t][i + 1];
    }
  }
  threads.for_each_worker(n_head_, [&](std::size_t head, std::size_t worker) {
    add_head(kernels, chunk, head, skip, scratch_[worker]);
  });
  count_ += tokens - skip;
}

void QueryAccumulator::add_head(const KernelTable& kernels, const Chunk& chunk, std::size_t head,
                                std::size_t skip, Scratch& scratch) {
  const auto turn = chunk.adjacent ? kernels.rope_adjacent : kernels.rope_halves;
  const auto unscale = static_cast<float>(1.0 / (chunk.magnitude * chunk.magnitude));
  double* mean = means_.data() + head * dim_;
  double* squares = squares_.data() + head * dim_ * dim_;
  auto held = static_cast<double>(count_);
  std::size_t rows = 0;
  for (std::size_t first = skip; first < chunk.positions.size(); first += rows) {
    const auto in_block = static_cast<std::size_t>(chunk.positions[first]) % kBlock;
    rows = std::min(kBlock - in_block, chunk.positions.size() - first);
    const auto added = static_cast<double>(rows);
    std::ranges::fill(scratch.mean, 0.0);
    for (std::size_t i = 0; i < rows; ++i) {
      float* row = scratch.rows.data() + i * dim_;
      std::ranges::copy(chunk.queries.row(first + i).subspan(head * dim_, dim_), row);
      turn(row, unturned_.data() + (first + i) * chunk.n_rot, chunk.n_rot);
      for (std::size_t d = 0; d < chunk.n_rot; ++d) row[d] *= unscale;
      for (std::size_t d = 0; d < dim_; ++d) scratch.mean[d] += static_cast<double>(row[d]) / added;
    }
    std::ranges::fill(scratch.sums, 0.0F);
    for (std::size_t i = 0; i < rows; ++i) {
      float* row = scratch.rows.data() + i * dim_;
      for (std::size_t d = 0; d < dim_; ++d) row[d] -= static_cast<float>(scratch.mean[d]);
      for (std::size_t d = 0; d < dim_; ++d) {
        kernels.axpy(row[d], row + d, scratch.sums.data() + d * dim_ + d, dim_ - d);
      }
    }
    const double share = added / (held + added);
    for (std::size_t d = 0; d < dim_; ++d) scratch.shift[d] = scratch.mean[d] - mean[d];
    for (std::size_t r = 0; r < dim_; ++r) {
      const double weight = scratch.shift[r] * held * share;
      for (std::size_t c = r; c < dim_; ++c) {
        squares[r * dim_ + c] +=
            static_cast<double>(scratch.sums[r * dim_ + c]) + weight * scratch.shift[c];
      }
    }
    for (std::size_t d = 0; d < dim_; ++d) mean[d] += scratch.shift[d] * share;
    held += added;
  }
}

QueryAccumulator::Saved QueryAccumulator::save() const {
  return {.count = count_, .means = means_, .squares = squares_};
}

void QueryAccumulator::restore(const Saved& saved) {
  RESTKV_CHECK(saved.means.size() == means_.size() && saved.squares.size() == squares_.size());
  count_ = saved.count;
  means_ = saved.means;
  squares_ = saved.squares;
}

QueryStatistics QueryAccumulator::statistics() {
  const double divisor = std::max(1.0, static_cast<double>(count_));
  for (std::size_t head = 0; head < n_head_; ++head) {
    const std::size_t at = head * dim_ * dim_;
    for (std::size_t r = 0; r < dim_; ++r) {
      for (std::size_t c = r; c < dim_; ++c) {
        const double value = squares_[at + r * dim_ + c] / divisor;
        covariances_[at + r * dim_ + c] = value;
        covariances_[at + c * dim_ + r] = value;
      }
    }
  }
  return {.count = count_,
          .means = {means_.data(), n_head_, dim_},
          .covariances = {covariances_.data(), n_head_, dim_, dim_}};
}

}  // namespace restkv
