#pragma once

// What an allocator across layers stands on: the scores of the rows that are held, layer after
// layer, from which every new layer pushes the worst out. The running best of the layers done so
// far is all that has to be kept, so a prefill holds at the most the pool and one layer.

#include <cstddef>
#include <span>
#include <vector>

#include "cache/byte_counter.h"
#include "cache/kv_cache.h"
#include "engine/compress.h"
#include "engine/variant.h"
#include "model/config.h"
#include "restkv/result.h"

namespace restkv {

// Rows that an allocator across layers may keep after `tokens` tokens: the budget for every set of
// every KV head and layer, or all that one could hold where that is less.
[[nodiscard]] std::size_t pool_rows(const ModelConfig& config, int sets, std::size_t budget,
                                    std::size_t tokens);

// The scores of one sequence's rows while its layers come in. Not thread-safe.
class LayerPool {
 public:
  // budget: nominal rows per KV head and layer; rows: of the pool. The variant must outlive the
  // object, and so must `counter`, which is charged for the scores that are held.
  struct Size {
    std::size_t budget = 0;
    std::size_t rows = 0;
  };
  LayerPool(const Variant& variant, Size size, ByteCounter& counter);
  ~LayerPool();
  LayerPool(const LayerPool&) = delete;
  LayerPool& operator=(const LayerPool&) = delete;

  struct Layer {
    const LayerObservation& observation;
    const LayerScores& scores;
    Position next_position = 0;  // after the newest row
    double output_norm = 0;      // as ScoreScale says
  };
  // Takes in the next layer: 0, then 1, ... Answers which rows stay, for each layer so far:
  // indices among the rows that it held, for earlier layers after the calls before.
  std::vector<KeepSets> add(const Layer& layer);

  // Of the scores that are held.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::vector<std::size_t> counts(const LayerObservation& last) const;

  const Variant& variant_;
  Size size_;
  ByteCounter& counter_;
  LayerScores scores_;                  // [layers so far * n_kv_head][rows held]
  std::vector<std::size_t> protected_;  // [the same] rows
  std::size_t bytes_ = 0;
};

// Drops what layers 0, 1, ... of the cache do not keep. kOutOfMemory: some layers are as they were.
Result<void> drop_rows(KvCache& cache, std::span<const KeepSets> keep);

// Length of a vector.
[[nodiscard]] double norm_of(std::span<const float> x);

}  // namespace restkv
