#pragma once

// The summaries of one sequence's cache: those of each (layer, KV head) that decode reads in part.
// They follow the cache: brought up to date before they are asked, started anew when it is
// replaced.

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "cache/byte_counter.h"
#include "cache/kv_cache.h"
#include "sparse/block_summaries.h"

namespace restkv {

class CacheSummaries {
 public:
  CacheSummaries() = default;
  ~CacheSummaries() { charge(0); }
  // A copy has the same summaries, for a fork of the cache. Throws std::bad_alloc.
  CacheSummaries(const CacheSummaries& other);
  CacheSummaries& operator=(const CacheSummaries& other) = delete;
  CacheSummaries(CacheSummaries&& other) noexcept { swap(other); }
  CacheSummaries& operator=(CacheSummaries&& other) noexcept {
    swap(other);
    return *this;
  }

  // The summaries of a head, with room for `blocks` blocks; made empty at the first call. `counter`
  // is charged for all. Throws std::bad_alloc.
  BlockSummaries& prepare(const CacheShape& cache, std::shared_ptr<ByteCounter> counter, int layer,
                          int head, const BlockSummaries::Shape& shape, std::size_t blocks);
  // Forgets everything: rows have been taken back or replaced.
  void clear();
  [[nodiscard]] std::size_t bytes() const { return charged_; }

 private:
  void swap(CacheSummaries& other) noexcept;
  void charge(std::size_t bytes);

  std::vector<std::optional<BlockSummaries>> heads_;  // [n_layer, n_kv_head] or empty
  std::shared_ptr<ByteCounter> counter_;
  std::size_t charged_ = 0;
};

}  // namespace restkv
