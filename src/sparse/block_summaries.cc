#include "sparse/block_summaries.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "sparse/block_box.h"

namespace restkv {
namespace {

float largest_code(SummaryType type) { return type == SummaryType::kInt4 ? 15.0F : 255.0F; }

}  // namespace

BlockSummaries::BlockSummaries(const Shape& shape) : shape_(shape) {
  RESTKV_CHECK(shape.block_rows % kPageRows == 0 && shape.head_dim > 0);
}

std::size_t BlockSummaries::row_bytes() const {
  switch (shape_.type) {
    case SummaryType::kF16: return 2 * width();
    case SummaryType::kInt8: return width();
    case SummaryType::kInt4: return width() / 2;
  }
  return 0;
}

std::size_t BlockSummaries::head_bytes() const {
  return shape_.type == SummaryType::kF16 ? 0 : 4 * width();
}

void BlockSummaries::reserve(std::size_t blocks) {
  open_.resize(kRunBlocks * open_row_bytes());
  const std::size_t wanted = blocks / kRunBlocks * run_bytes();
  // A quarter more than needed: a cache grows row by row for a long time.
  if (wanted > closed_.capacity()) closed_.reserve(wanted + wanted / 4);
}

std::size_t BlockSummaries::update_scratch() const {
  return std::max((shape_.block_rows + 2) * shape_.head_dim, 4 * width());
}

void BlockSummaries::update(const KernelTable& kernels, KvType type_k,
                            std::span<const PageView> pages, std::size_t count, float* scratch) {
  const std::size_t dim = shape_.head_dim;
  const std::size_t key_bytes = kv_row_bytes(type_k, dim);
  const std::size_t pages_per_block = shape_.block_rows / kPageRows;
  float* const box = scratch + shape_.block_rows * dim;
  while (blocks_ < count) {
    for (std::size_t i = 0; i < shape_.block_rows; ++i) {
      const PageView& page = pages[blocks_ * pages_per_block + i / kPageRows];
      RESTKV_DCHECK(page.rows == kPageRows);
      kernels.decode_row(type_k, page.keys + i % kPageRows * key_bytes, scratch + i * dim, dim);
    }
    make_box(shape_.box, {scratch, shape_.block_rows, dim}, {box, dim}, {box + dim, dim});
    std::byte* const row = open_.data() + blocks_ % kRunBlocks * open_row_bytes();
    kernels.encode_row(KvType::kF16, box, row, width());
    ++blocks_;
    if (blocks_ % kRunBlocks == 0) close_run(kernels, scratch);
  }
}

// Turns the open rows into a closed run. scratch: a row, its column's extremes, the inverse scales.
void BlockSummaries::close_run(const KernelTable& kernels, float* scratch) {
  const std::size_t n = width();
  const std::size_t at = closed_.size();
  RESTKV_DCHECK(closed_.capacity() >= at + run_bytes());
  closed_.resize(at + run_bytes());
  std::byte* const run = closed_.data() + at;
  if (shape_.type == SummaryType::kF16) {
    std::memcpy(run, open_.data(), run_bytes());
    return;
  }
  float* const row = scratch;
  float* const zero = scratch + n;
  float* const scale = scratch + 2 * n;
  std::fill_n(zero, n, std::numeric_limits<float>::infinity());
  std::fill_n(scale, n, -std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < kRunBlocks; ++i) {
    kernels.decode_row(KvType::kF16, open_.data() + i * open_row_bytes(), row, n);
    for (std::size_t d = 0; d < n; ++d) {
      zero[d] = std::min(zero[d], row[d]);
      scale[d] = std::max(scale[d], row[d]);
    }
  }
  const float most = largest_code(shape_.type);
  for (std::size_t d = 0; d < n; ++d) scale[d] = (scale[d] - zero[d]) / most;
  kernels.encode_row(KvType::kF16, zero, run, n);
  kernels.encode_row(KvType::kF16, scale, run + 2 * n, n);
  kernels.decode_row(KvType::kF16, run + 2 * n, scale, n);  // as it will be read
  for (std::size_t i = 0; i < kRunBlocks; ++i) {
    kernels.decode_row(KvType::kF16, open_.data() + i * open_row_bytes(), row, n);
    std::byte* const out = run + head_bytes() + i * row_bytes();
    const auto code = [&](std::size_t d) {
      if (!(scale[d] > 0)) return std::uint8_t{0};
      const float nearest = std::round((row[d] - zero[d]) / scale[d]);
      return static_cast<std::uint8_t>(std::clamp(nearest, 0.0F, most));
    };
    if (shape_.type == SummaryType::kInt8) {
      for (std::size_t d = 0; d < n; ++d) out[d] = std::byte{code(d)};
      continue;
    }
    for (std::size_t d = 0; d < n / 2; ++d) {
      out[d] = std::byte{code(d)} | std::byte{code(n / 2 + d)} << 4;
    }
  }
}

// Codes of a closed row as numbers: [width()].
void BlockSummaries::expand(const std::byte* row, float* codes) const {
  const std::size_t n = width();
  if (shape_.type == SummaryType::kInt8) {
    for (std::size_t d = 0; d < n; ++d) codes[d] = static_cast<float>(static_cast<int>(row[d]));
    return;
  }
  for (std::size_t d = 0; d < n / 2; ++d) {
    const int both = static_cast<int>(row[d]);
    codes[d] = static_cast<float>(both & 15);
    codes[n / 2 + d] = static_cast<float>(both >> 4);
  }
}

std::size_t BlockSummaries::score_scratch(std::size_t group) const {
  return width() * (2 * group + 3) + group;
}

void BlockSummaries::score(const KernelTable& kernels, const float* q, std::size_t group,
                           HeadMerge merge, std::span<float> scores, float* scratch) const {
  RESTKV_DCHECK(scores.size() == blocks_);
  const std::size_t n = width();
  float* const split = scratch;             // [group, n]
  float* const scaled = split + group * n;  // [group, n]: times the scales of the run
  float* const row = scaled + group * n;    // [n]
  float* const zero = row + n;              // [n]
  float* const scale = zero + n;            // [n]
  float* const offset = scale + n;          // [group]: product with the zeros of the run
  for (std::size_t g = 0; g < group; ++g) {
    split_query({q + g * shape_.head_dim, shape_.head_dim}, {split + g * n, n});
  }
  const auto merged = [&](const float* queries, const float* offsets) {
    float all = 0;
    for (std::size_t g = 0; g < group; ++g) {
      const float one = kernels.dot(queries + g * n, row, n) + offsets[g];
      all = g == 0 ? one : merge == HeadMerge::kMax ? std::max(all, one) : all + one;
    }
    return merge == HeadMerge::kMean ? all / static_cast<float>(group) : all;
  };
  const std::size_t closed = blocks_ / kRunBlocks * kRunBlocks;
  for (std::size_t block = 0; block < blocks_; ++block) {
    const std::byte* const run = closed_.data() + block / kRunBlocks * run_bytes();
    const bool small = block < closed && shape_.type != SummaryType::kF16;
    if (block % kRunBlocks == 0) std::fill_n(offset, group, 0.0F);
    if (small && block % kRunBlocks == 0) {
      kernels.decode_row(KvType::kF16, run, zero, n);
      kernels.decode_row(KvType::kF16, run + 2 * n, scale, n);
      for (std::size_t g = 0; g < group; ++g) {
        offset[g] = kernels.dot(split + g * n, zero, n);
        for (std::size_t d = 0; d < n; ++d) scaled[g * n + d] = split[g * n + d] * scale[d];
      }
    }
    const std::size_t slot = block % kRunBlocks;
    if (small) {
      expand(run + head_bytes() + slot * row_bytes(), row);
      scores[block] = merged(scaled, offset);
    } else {
      const std::byte* const from =
          block < closed ? run + slot * row_bytes() : open_.data() + slot * open_row_bytes();
      kernels.decode_row(KvType::kF16, from, row, n);
      scores[block] = merged(split, offset);
    }
  }
}

void BlockSummaries::box(const KernelTable& kernels, std::size_t block,
                         std::span<float> out) const {
  RESTKV_CHECK(block < blocks_ && out.size() == width());
  const std::size_t slot = block % kRunBlocks;
  if (block >= blocks_ / kRunBlocks * kRunBlocks) {
    kernels.decode_row(KvType::kF16, open_.data() + slot * open_row_bytes(), out.data(), width());
    return;
  }
  const std::byte* const run = closed_.data() + block / kRunBlocks * run_bytes();
  const std::byte* const row = run + head_bytes() + slot * row_bytes();
  if (shape_.type == SummaryType::kF16) {
    kernels.decode_row(KvType::kF16, row, out.data(), width());
    return;
  }
  std::vector<float> zero(width());
  std::vector<float> scale(width());
  kernels.decode_row(KvType::kF16, run, zero.data(), width());
  kernels.decode_row(KvType::kF16, run + 2 * width(), scale.data(), width());
  expand(row, out.data());
  for (std::size_t d = 0; d < width(); ++d) out[d] = zero[d] + scale[d] * out[d];
}

}  // namespace restkv
