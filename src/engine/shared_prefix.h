#pragma once

// What stands behind SharedPrefix: the layers of a prompt's beginning as they were when its last
// token had been read.

#include <memory>
#include <vector>

#include "cache/byte_counter.h"
#include "cache/layer_rows.h"
#include "engine/query_statistics.h"
#include "restkv/shared_prefix.h"

namespace restkv {

struct SharedPrefix::State {
  struct Layer {
    std::unique_ptr<LayerRows> rows;
    QueryAccumulator::Saved queries;
  };
  // What of a layer is held, and in which type.
  struct Contents {
    KvType type = KvType::kF16;
    bool column_sums = false;
    bool head_sums = false;  // of each query head
    bool query_statistics = false;
  };

  State(const Contents& contents_in, std::shared_ptr<ByteCounter> counter_in)
      : contents(contents_in), counter(std::move(counter_in)) {}
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Whether a prefill that needs `needed` may begin behind it.
  [[nodiscard]] bool serves(const Contents& needed) const;
  // Adds the next layer. kOutOfMemory. `queries` may be null. Throws std::bad_alloc.
  Result<void> add_layer(const LayerRows& rows, const QueryAccumulator* queries);
  // What it takes; without sums and statistics where `needed` has none: a prefill for that variant
  // alone would not hold them.
  [[nodiscard]] std::size_t bytes(const Contents& needed) const;

  Contents contents;
  std::shared_ptr<ByteCounter> counter;  // before the layers, which are charged to it
  std::vector<Layer> layers;
  double read_ms = 0;  // reading its tokens, all layers
};

}  // namespace restkv
