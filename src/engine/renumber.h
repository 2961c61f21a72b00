#pragma once

// Renumbered positions (StreamingLLM, LaCache): attention is to see the rows that were kept side by
// side, so that no distance is larger than the cache, however long the text.
//
// RoPE knows distances only. So instead of counting the rows from 0, they are moved up to the token
// that looks at them: the newest row stays where it is, and each older one lies one position before
// the next. The rows that a sequence holds keep their keys as they came, and their positions; what
// is turned is a copy for the layer in hand. So rounding does not add up, however often rows go,
// and forks share pages as ever. Rows that were never separated from the newest are not copied. In
// decode the copy has the cache's type: with q8_0 or q4_0 keys it is rounded once more than in a
// prefill, which turns in f16 (docs/schedules.md).

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "cache/kv_cache.h"
#include "cache/layer_rows.h"
#include "kernels/kernels.h"
#include "model/model.h"

namespace restkv {

// By how much each row's position has to grow so that the rows lie side by side and the newest at
// `last`. held: strictly increasing, the newest at most `last`.
[[nodiscard]] std::vector<Position> shifts_of(std::span<const Position> held, Position last);

// Turns keys of one layer. Not thread-safe.
class KeyTurner {
 public:
  KeyTurner(const KernelTable& kernels, const Model& model, int layer);
  // key: [head_dim], after RoPE for some position, becomes what it would be `by` positions later.
  void turn(float* key, Position by);

 private:
  const KernelTable& kernels_;
  const ModelConfig& config_;
  std::vector<double> frequencies_;
  Position by_ = 0;            // what angles_ are for
  std::vector<float> angles_;  // [n_rot / 2] pairs {cos, sin}
};

// Turns the rows that the layer holds, the newest to just before `next`.
void renumber(const KernelTable& kernels, const Model& model, int layer, Position next,
              LayerRows& rows);

// What decode reads of a head whose newest row has just been appended: pages whose rows lie side by
// side. Pages without a row that moves are read where they are.
class RenumberedPages {
 public:
  // Works out what has to be turned, and makes room for it. Throws std::bad_alloc.
  void prepare(const KernelTable& kernels, const Model& model, const KvCache& cache, int layer,
               int head);
  // Puts what was turned in the place of what the cache holds. `pages`: of the same head; valid as
  // they are, and until the next call of prepare(). Allocates nothing.
  // REQUIRES: a layer without a sliding window.
  void turn(const KernelTable& kernels, const CacheShape& shape, KvCache::HeadPages& pages);

 private:
  std::vector<Position> shifts_;  // of the rows that move, which come first
  std::optional<KeyTurner> turner_;
  AlignedArray<std::byte> keys_;  // [pages with such rows]
};

}  // namespace restkv
