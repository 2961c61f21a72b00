#pragma once

// Memory for the pages of a cache: blocks of one size, cut from slabs that grow up to 2 MiB. Decode
// reads all pages of a head, one after the other: what was stored together lies together, so that
// the processor can fetch ahead, and a slab of 2 MiB can be one large page of the system, so that
// finding the next block does not cost a walk through the page tables. An empty slab goes back to
// the system at once: what a policy drops is free memory.

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "cache/byte_counter.h"

namespace restkv {

class PagePool {
 public:
  // `counter` is charged `block_bytes` for each block that is out. Beyond that the pool holds what
  // is free in its slabs: at most half of what it holds, and while blocks are only taken at most a
  // slab, which is 2 MiB or, of larger blocks, 8 of them. REQUIRES: block_bytes > 0.
  PagePool(std::size_t block_bytes, std::shared_ptr<ByteCounter> counter);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // A block on a 64-byte boundary, not initialised. Throws std::bad_alloc when the memory cannot be
  // had. Thread-safe, as give_back() is.
  [[nodiscard]] std::byte* take();
  // REQUIRES: the block came from take() and was not given back since.
  void give_back(std::byte* block) noexcept;

  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  // Of the blocks that are out, counted slab by slab.
  [[nodiscard]] std::size_t bytes_out() const;
  // What the pool has from the system.
  [[nodiscard]] std::size_t slab_bytes() const;

 private:
  struct Slab;
  using Slabs = std::map<const std::byte*, std::unique_ptr<Slab>>;  // by their first byte
  Slab& slab_with_room();

  std::size_t block_bytes_;
  std::size_t stride_;
  std::shared_ptr<ByteCounter> counter_;
  mutable std::mutex mutex_;
  Slabs slabs_;
  Slab* current_ = nullptr;  // where the last block was taken
  std::size_t slab_bytes_ = 0;
  std::size_t free_blocks_ = 0;
};

}  // namespace restkv
