#include "cache/layer_rows.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"

namespace restkv {

LayerRows::LayerRows(const Shape& shape, ByteCounter& counter)
    : shape_(shape), counter_(counter), heads_(static_cast<std::size_t>(shape.n_kv_head)) {
  RESTKV_CHECK(shape.type == KvType::kF16 || shape.type == KvType::kF32);
}

LayerRows::~LayerRows() { counter_.remove(bytes_); }

Result<void> LayerRows::reset(std::span<const std::size_t> capacity) {
  RESTKV_CHECK(capacity.size() == heads_.size());
  const std::size_t row_bytes =
      kv_row_bytes(shape_.type, static_cast<std::size_t>(shape_.head_dim));
  try {
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      Head& head = heads_[h];
      head.positions.clear();
      head.sums.clear();
      head.head_sums.resize(static_cast<std::size_t>(shape_.head_sums));
      for (std::vector<float>& sums : head.head_sums) {
        sums.clear();
        sums.reserve(capacity[h]);
      }
      head.keys.reserve(capacity[h] * row_bytes, MemoryUse::kLarge);
      head.values.reserve(capacity[h] * row_bytes, MemoryUse::kLarge);
      head.positions.reserve(capacity[h]);
      if (shape_.with_column_sums) head.sums.reserve(capacity[h]);
      head.capacity = capacity[h];
    }
  } catch (const std::bad_alloc&) {
    for (Head& head : heads_) head = Head();
    recount();
    return Error{ErrorCode::kOutOfMemory,
                 "no memory for the keys and values of one layer of the prompt"};
  }
  recount();
  return {};
}

void LayerRows::append(const KernelTable& kernels, int head_index, Position position,
                       const float* key, const float* value, float column_sum) {
  Head& head = heads_[static_cast<std::size_t>(head_index)];
  const std::size_t row = head.positions.size();
  RESTKV_DCHECK(row < head.capacity);
  RESTKV_DCHECK(row == 0 || head.positions.back() < position);
  const auto dim = static_cast<std::size_t>(shape_.head_dim);
  const std::size_t row_bytes = kv_row_bytes(shape_.type, dim);
  kernels.encode_row(shape_.type, key, head.keys.data() + row * row_bytes, dim);
  kernels.encode_row(shape_.type, value, head.values.data() + row * row_bytes, dim);
  head.positions.push_back(position);
  if (shape_.with_column_sums) head.sums.push_back(column_sum);
  for (std::vector<float>& sums : head.head_sums) sums.push_back(0.0F);
}

void LayerRows::append_all(const LayerRows& source) {
  RESTKV_CHECK(source.shape_.type == shape_.type && source.heads_.size() == heads_.size());
  const std::size_t row_bytes =
      kv_row_bytes(shape_.type, static_cast<std::size_t>(shape_.head_dim));
  for (std::size_t h = 0; h < heads_.size(); ++h) {
    Head& head = heads_[h];
    const Head& from = source.heads_[h];
    const std::size_t rows = head.positions.size();
    const std::size_t added = from.positions.size();
    if (added == 0) continue;
    RESTKV_CHECK(rows + added <= head.capacity);
    RESTKV_DCHECK(rows == 0 || head.positions.back() < from.positions.front());
    std::memcpy(head.keys.data() + rows * row_bytes, from.keys.data(), added * row_bytes);
    std::memcpy(head.values.data() + rows * row_bytes, from.values.data(), added * row_bytes);
    head.positions.insert(head.positions.end(), from.positions.begin(), from.positions.end());
    for (std::size_t g = 0; g < head.head_sums.size(); ++g) {
      std::vector<float>& sums = head.head_sums[g];
      if (g < from.head_sums.size()) {
        sums.insert(sums.end(), from.head_sums[g].begin(), from.head_sums[g].end());
      }
      sums.resize(rows + added, 0.0F);
    }
    if (!shape_.with_column_sums) continue;
    head.sums.insert(head.sums.end(), from.sums.begin(), from.sums.end());
    head.sums.resize(rows + added, 0.0F);
  }
}

void LayerRows::set_key(const KernelTable& kernels, int head_index, std::size_t row,
                        const float* key) {
  Head& head = heads_[static_cast<std::size_t>(head_index)];
  RESTKV_DCHECK(row < head.positions.size());
  const auto dim = static_cast<std::size_t>(shape_.head_dim);
  kernels.encode_row(shape_.type, key, head.keys.data() + row * kv_row_bytes(shape_.type, dim),
                     dim);
}

void LayerRows::drop_before(Position first) {
  const std::size_t row_bytes =
      kv_row_bytes(shape_.type, static_cast<std::size_t>(shape_.head_dim));
  for (Head& head : heads_) {
    const auto keep = std::lower_bound(head.positions.begin(), head.positions.end(), first);
    const auto gone = static_cast<std::size_t>(keep - head.positions.begin());
    if (gone == 0) continue;
    const std::size_t left = head.positions.size() - gone;
    std::memmove(head.keys.data(), head.keys.data() + gone * row_bytes, left * row_bytes);
    std::memmove(head.values.data(), head.values.data() + gone * row_bytes, left * row_bytes);
    head.positions.erase(head.positions.begin(), keep);
    const auto drop = [gone](std::vector<float>& sums) {
      sums.erase(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(gone));
    };
    if (shape_.with_column_sums) drop(head.sums);
    std::ranges::for_each(head.head_sums, drop);
  }
}

void LayerRows::drop_from(Position first) {
  for (Head& head : heads_) {
    const auto left = std::lower_bound(head.positions.begin(), head.positions.end(), first);
    head.positions.erase(left, head.positions.end());
    if (shape_.with_column_sums) head.sums.resize(head.positions.size());
    for (std::vector<float>& sums : head.head_sums) sums.resize(head.positions.size());
  }
}

std::size_t LayerRows::rows(int head) const {
  return heads_[static_cast<std::size_t>(head)].positions.size();
}

HeadRows LayerRows::view(int head_index) const {
  const Head& head = heads_[static_cast<std::size_t>(head_index)];
  return {.keys = head.keys.data(),
          .values = head.values.data(),
          .type = shape_.type,
          .positions = head.positions};
}

std::span<float> LayerRows::column_sums(int head) {
  return heads_[static_cast<std::size_t>(head)].sums;
}

std::span<const float> LayerRows::column_sums(int head) const {
  return heads_[static_cast<std::size_t>(head)].sums;
}

std::span<float> LayerRows::head_sums(int head, int query) {
  return heads_[static_cast<std::size_t>(head)].head_sums[static_cast<std::size_t>(query)];
}

std::span<const float> LayerRows::head_sums(int head, int query) const {
  return heads_[static_cast<std::size_t>(head)].head_sums[static_cast<std::size_t>(query)];
}

std::size_t LayerRows::row_bytes(std::size_t rows) const {
  const auto dim = static_cast<std::size_t>(shape_.head_dim);
  return heads_.size() * rows * (2 * kv_row_bytes(shape_.type, dim) + sizeof(Position));
}

std::size_t LayerRows::column_sum_bytes() const {
  std::size_t bytes = 0;
  for (const Head& head : heads_) bytes += head.sums.capacity() * sizeof(float);
  return bytes;
}

std::size_t LayerRows::head_sum_bytes() const {
  std::size_t bytes = 0;
  for (const Head& head : heads_) {
    for (const std::vector<float>& sums : head.head_sums) bytes += sums.capacity() * sizeof(float);
  }
  return bytes;
}

void LayerRows::recount() {
  std::size_t bytes = 0;
  for (const Head& head : heads_) {
    bytes += head.keys.size() + head.values.size() + head.positions.capacity() * sizeof(Position);
  }
  bytes += column_sum_bytes() + head_sum_bytes();
  counter_.remove(bytes_);
  counter_.add(bytes);
  bytes_ = bytes;
}

}  // namespace restkv
