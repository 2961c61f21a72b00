#include "cache/page_pool.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include <sys/mman.h>

#include "base/aligned.h"
#include "base/check.h"

namespace restkv {
namespace {

constexpr std::size_t kSmallestSlab = std::size_t{64} << 10;
constexpr std::size_t kBlocksAtLeast = 8;  // in a slab, however large the block

std::size_t rounded_up(std::size_t size, std::size_t step) {
  return (size + step - 1) / step * step;
}

// Memory of its own from the system, which has it back at the end.
class Mapping {
 public:
  // From kLargePage on, the beginning lies on a border of large pages. Throws std::bad_alloc.
  explicit Mapping(std::size_t bytes) : bytes_(bytes) {
    const bool large = bytes >= kLargePage;
    const std::size_t mapped = large ? bytes + kLargePage : bytes;
    void* const start = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(start);
    if (!large) return;
    const std::size_t before =
        (kLargePage - reinterpret_cast<std::uintptr_t>(data_) % kLargePage) % kLargePage;
    if (before > 0) ::munmap(data_, before);
    data_ += before;
    if (mapped - before > bytes) ::munmap(data_ + bytes, mapped - before - bytes);
    ::madvise(data_, bytes, MADV_HUGEPAGE);  // advice only: its failure changes nothing
  }
  ~Mapping() { ::munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace

// Blocks are handed out from the front; those that came back are used again first, the newest
// first. The list of them is kept in the free blocks themselves.
struct PagePool::Slab {
  Slab(std::size_t bytes, std::size_t stride) : mapping(bytes), blocks(bytes / stride) {}

  [[nodiscard]] bool has_room() const { return out < blocks; }
  std::byte* take(std::size_t stride) {
    ++out;
    if (free == nullptr) return mapping.data() + stride * untouched++;
    std::byte* const block = free;
    std::memcpy(static_cast<void*>(&free), block, sizeof(free));
    return block;
  }
  void give_back(std::byte* block) {
    std::memcpy(block, static_cast<const void*>(&free), sizeof(free));
    free = block;
    --out;
  }

  Mapping mapping;
  std::size_t blocks;
  std::size_t out = 0;
  std::size_t untouched = 0;  // blocks from here on were never taken
  std::byte* free = nullptr;
};

PagePool::PagePool(std::size_t block_bytes, std::shared_ptr<ByteCounter> counter)
    : block_bytes_(block_bytes),
      stride_(rounded_up(block_bytes, kAlignment)),
      counter_(std::move(counter)) {
  RESTKV_CHECK(block_bytes > 0);
}

PagePool::~PagePool() = default;

PagePool::Slab& PagePool::slab_with_room() {
  if (current_ != nullptr && current_->has_room()) return *current_;
  if (free_blocks_ > 0) {
    const auto found = std::ranges::find_if(
        slabs_, [](const Slabs::value_type& slab) { return slab.second->has_room(); });
    return *found->second;
  }
  // As much again as is held, so that a small cache stays small.
  const std::size_t bytes = std::max(std::clamp(slab_bytes_, kSmallestSlab, kLargePage),
                                     rounded_up(stride_ * kBlocksAtLeast, kSmallestSlab));
  auto slab = std::make_unique<Slab>(bytes, stride_);
  const std::byte* const first = slab->mapping.data();
  Slab& made = *slabs_.emplace(first, std::move(slab)).first->second;
  slab_bytes_ += bytes;
  free_blocks_ += made.blocks;
  return made;
}

std::byte* PagePool::take() {
  const std::scoped_lock lock(mutex_);
  current_ = &slab_with_room();
  --free_blocks_;
  counter_->add(block_bytes_);
  return current_->take(stride_);
}

void PagePool::give_back(std::byte* block) noexcept {
  const std::scoped_lock lock(mutex_);
  counter_->remove(block_bytes_);
  const auto found = std::prev(slabs_.upper_bound(block));
  Slab& slab = *found->second;
  slab.give_back(block);
  ++free_blocks_;
  if (slab.out > 0) return;
  if (current_ == &slab) current_ = nullptr;
  free_blocks_ -= slab.blocks;
  slab_bytes_ -= slab.mapping.bytes();
  slabs_.erase(found);
}

std::size_t PagePool::bytes_out() const {
  const std::scoped_lock lock(mutex_);
  std::size_t blocks = 0;
  for (const auto& [first, slab] : slabs_) blocks += slab->out;
  return blocks * block_bytes_;
}

std::size_t PagePool::slab_bytes() const {
  const std::scoped_lock lock(mutex_);
  return slab_bytes_;
}

}  // namespace restkv
