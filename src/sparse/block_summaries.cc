#include "sparse/block_summaries.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "sparse/block_box.h"

namespace restkv {
namespace {

constexpr std::size_t kHalfBytes = 2;

float largest_code(SummaryType type) { return type == SummaryType::kInt4 ? 15.0F : 255.0F; }

}  // namespace

BlockSummaries::BlockSummaries(const Shape& shape) : shape_(shape) {
  RESTKV_CHECK(shape.block_rows % kPageRows == 0 && shape.head_dim > 0);
}

void BlockSummaries::reserve(std::size_t blocks) {
  open_.resize(open_bytes());
  const std::size_t wanted = blocks / kRunBlocks * closed_bytes();
  // A quarter more than needed: a cache grows row by row for a long time.
  if (wanted > closed_.capacity()) closed_.reserve(wanted + wanted / 4);
}

std::size_t BlockSummaries::update_scratch() const {
  const std::size_t keys_and_box = shape_.block_rows * shape_.head_dim + width();
  const std::size_t box_as_stored = width() / 2;
  const std::size_t column_zeros_and_scales = kRunBlocks + 2 * width();
  return std::max(keys_and_box + box_as_stored, column_zeros_and_scales);
}

void BlockSummaries::update(const KernelTable& kernels, KvType type_k,
                            std::span<const PageView> pages, std::size_t count, float* scratch) {
  const std::size_t dim = shape_.head_dim;
  const std::size_t key_bytes = kv_row_bytes(type_k, dim);
  const std::size_t pages_per_block = shape_.block_rows / kPageRows;
  float* const box = scratch + shape_.block_rows * dim;
  auto* const stored = reinterpret_cast<std::byte*>(box + width());
  const std::size_t before = blocks_;
  while (blocks_ < count) {
    for (std::size_t i = 0; i < shape_.block_rows; ++i) {
      const PageView& page = pages[(blocks_ - before) * pages_per_block + i / kPageRows];
      RESTKV_DCHECK(page.rows == kPageRows);
      kernels.decode_row(type_k, page.keys + i % kPageRows * key_bytes, scratch + i * dim, dim);
    }
    make_box(shape_.box, {scratch, shape_.block_rows, dim}, {box, dim}, {box + dim, dim});
    kernels.encode_row(KvType::kF16, box, stored, width());
    std::byte* const slot = open_.data() + kHalfBytes * (blocks_ % kRunBlocks);
    for (std::size_t i = 0; i < width(); ++i) {
      std::memcpy(slot + kHalfBytes * i * kRunBlocks, stored + kHalfBytes * i, kHalfBytes);
    }
    ++blocks_;
    if (blocks_ % kRunBlocks == 0) close_run(kernels, scratch);
  }
}

// Turns the open run into a closed one. scratch: a column, the zeros and the scales.
void BlockSummaries::close_run(const KernelTable& kernels, float* scratch) {
  const std::size_t n = width();
  const std::size_t at = closed_.size();
  RESTKV_DCHECK(closed_.capacity() >= at + closed_bytes());
  closed_.resize(at + closed_bytes());
  std::byte* const run = closed_.data() + at;
  if (shape_.type == SummaryType::kF16) {
    std::memcpy(run, open_.data(), closed_bytes());
    return;
  }
  float* const column = scratch;
  float* const zero = scratch + kRunBlocks;
  float* const scale = zero + n;
  const float most = largest_code(shape_.type);
  const auto load_column = [&](std::size_t i) {
    kernels.decode_row(KvType::kF16, open_.data() + kHalfBytes * i * kRunBlocks, column,
                       kRunBlocks);
  };
  for (std::size_t i = 0; i < n; ++i) {
    load_column(i);
    float largest = -std::numeric_limits<float>::infinity();
    zero[i] = std::numeric_limits<float>::infinity();
    for (std::size_t block = 0; block < kRunBlocks; ++block) {
      zero[i] = std::min(zero[i], column[block]);
      largest = std::max(largest, column[block]);
    }
    scale[i] = (largest - zero[i]) / most;
  }
  kernels.encode_row(KvType::kF16, zero, run, n);
  kernels.encode_row(KvType::kF16, scale, run + kHalfBytes * n, n);
  kernels.decode_row(KvType::kF16, run + kHalfBytes * n, scale, n);  // as it will be read
  std::byte* const columns = run + run_head_bytes(shape_.type, shape_.head_dim);
  for (std::size_t i = 0; i < n; ++i) {
    load_column(i);
    const bool upper = shape_.type == SummaryType::kInt4 && i >= shape_.head_dim;
    std::byte* const codes = columns + (upper ? i - shape_.head_dim : i) * kRunBlocks;
    for (std::size_t block = 0; block < kRunBlocks; ++block) {
      const float steps = scale[i] > 0 ? std::round((column[block] - zero[i]) / scale[i]) : 0.0F;
      const std::byte code{static_cast<std::uint8_t>(steps > 0 ? std::min(steps, most) : 0.0F)};
      codes[block] = upper ? codes[block] | code << 4 : code;
    }
  }
}

std::size_t BlockSummaries::score_scratch(std::size_t group) const {
  return box_score_scratch(group, shape_.head_dim);
}

void BlockSummaries::score(const KernelTable& kernels, const float* q, std::size_t group,
                           HeadMerge merge, std::span<float> scores, float* scratch) const {
  RESTKV_DCHECK(scores.size() == blocks_);
  const std::size_t closed = blocks_ / kRunBlocks * kRunBlocks;
  BoxScoreArgs args{.q = q,
                    .group = group,
                    .head_dim = shape_.head_dim,
                    .merge = merge,
                    .type = shape_.type,
                    .runs = closed_.data(),
                    .blocks = closed,
                    .scores = scores.data(),
                    .scratch = scratch};
  kernels.score_boxes(args);
  args.type = SummaryType::kF16;
  args.runs = open_.data();
  args.blocks = blocks_ - closed;
  args.scores = scores.data() + closed;
  kernels.score_boxes(args);
}

void BlockSummaries::box(const KernelTable& kernels, std::size_t block,
                         std::span<float> out) const {
  RESTKV_CHECK(block < blocks_ && out.size() == width());
  const bool open = block >= blocks_ / kRunBlocks * kRunBlocks;
  const std::byte* const run =
      open ? open_.data() : closed_.data() + block / kRunBlocks * closed_bytes();
  const std::size_t slot = block % kRunBlocks;
  if (open || shape_.type == SummaryType::kF16) {
    for (std::size_t i = 0; i < width(); ++i) {
      kernels.decode_row(KvType::kF16, run + kHalfBytes * (i * kRunBlocks + slot), &out[i], 1);
    }
    return;
  }
  std::vector<float> zero(width());
  std::vector<float> scale(width());
  kernels.decode_row(KvType::kF16, run, zero.data(), width());
  kernels.decode_row(KvType::kF16, run + kHalfBytes * width(), scale.data(), width());
  const std::byte* const columns = run + run_head_bytes(shape_.type, shape_.head_dim);
  for (std::size_t i = 0; i < width(); ++i) {
    int code = 0;
    if (shape_.type == SummaryType::kInt8) {
      code = static_cast<int>(columns[i * kRunBlocks + slot]);
    } else {
      const int both = static_cast<int>(columns[i % shape_.head_dim * kRunBlocks + slot]);
      code = i < shape_.head_dim ? both & 15 : both >> 4;
    }
    out[i] = zero[i] + scale[i] * static_cast<float>(code);
  }
}

}  // namespace restkv
