#pragma once

// The keys and values of ONE layer while its prefill runs: contiguous per KV head, in f16 (f32 when
// the cache is f32). This is the only place where a prompt stands in full, and only for one layer.
// Threads may write to different heads at a time; all else is for one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "cache/byte_counter.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

class LayerRows {
 public:
  struct Shape {
    int n_kv_head = 0;
    int head_dim = 0;
    KvType type = KvType::kF16;     // kF16 or kF32
    bool with_column_sums = false;  // a float with each row, as CacheShape says
    int head_sums = 0;  // query heads of each KV head that have sums of their own; 0: none
  };

  // `counter` is charged for what is held, for as long as it is held. Must outlive the object.
  LayerRows(const Shape& shape, ByteCounter& counter);
  ~LayerRows();
  LayerRows(const LayerRows&) = delete;
  LayerRows& operator=(const LayerRows&) = delete;

  // Empties all heads and makes room for `capacity[h]` rows in head h. Memory is reused from layer
  // to layer. kOutOfMemory leaves the object empty.
  Result<void> reset(std::span<const std::size_t> capacity);

  // Adds a row to head h. key, value: [head_dim] f32, key after RoPE. column_sum: what the row has
  // received before, from the whole group; head_sums begin with 0. REQUIRES: room; position larger
  // than that of the head's last row.
  void append(const KernelTable& kernels, int head, Position position, const float* key,
              const float* value, float column_sum);
  // Adds all rows of `source`, with what they have received (nothing, where it holds no sums).
  // REQUIRES: the same heads and type; room; positions larger than those held.
  void append_all(const LayerRows& source);
  // Replaces the key of a row. REQUIRES: row < rows(head).
  void set_key(const KernelTable& kernels, int head, std::size_t row, const float* key);
  // Drops the rows of every head at positions below `first`. The room may be used again.
  void drop_before(Position first);
  // Drops the rows of every head at positions from `first` on.
  void drop_from(Position first);

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t rows(int head) const;
  [[nodiscard]] HeadRows view(int head) const;
  [[nodiscard]] std::span<float> column_sums(int head);
  [[nodiscard]] std::span<const float> column_sums(int head) const;
  // What the rows have received from one query head of the group. REQUIRES: query <
  // shape().head_sums.
  [[nodiscard]] std::span<float> head_sums(int head, int query);
  [[nodiscard]] std::span<const float> head_sums(int head, int query) const;
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  // The part of bytes() that `rows` rows of every head take, without their column sums.
  [[nodiscard]] std::size_t row_bytes(std::size_t rows) const;
  // The parts of bytes() that only the column sums take, and only those of each query head.
  [[nodiscard]] std::size_t column_sum_bytes() const;
  [[nodiscard]] std::size_t head_sum_bytes() const;

 private:
  struct Head {
    AlignedArray<std::byte> keys;
    AlignedArray<std::byte> values;
    std::vector<Position> positions;
    std::vector<float> sums;
    std::vector<std::vector<float>> head_sums;
    std::size_t capacity = 0;
  };
  void recount();

  Shape shape_;
  ByteCounter& counter_;
  std::vector<Head> heads_;
  std::size_t bytes_ = 0;
};

}  // namespace restkv
