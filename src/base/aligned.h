#pragma once

// Memory aligned for vector loads, and the failure of getting it as a value instead of a throw.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <sys/mman.h>

namespace restkv {

inline constexpr std::size_t kAlignment = 64;  // bytes: a cache line, and the widest vector
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

// Bytes from which on an array is a mapping of its own, which goes back to the system when the
// array goes. In the heap, whatever small was put behind it would keep its place, and a long
// prompt, which takes and gives back arrays of many MiB for every layer, would grow by one of them
// a layer. Never where the address sanitizer looks on: it sees the bounds of what is in the heap.
[[nodiscard]] std::size_t mapped_from();

// kLarge: read from end to end again and again, and worth the largest pages that the system has.
enum class MemoryUse : std::uint8_t { kPlain, kLarge };

// A fixed array of trivial elements on a 64-byte boundary, not initialised. Move only.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  // Throws std::bad_alloc when the memory cannot be had.
  explicit AlignedArray(std::size_t size, MemoryUse use = MemoryUse::kPlain) : size_(size) {
    if (size == 0) return;
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    const bool large = use == MemoryUse::kLarge && size * sizeof(T) >= kLargePage;
    const std::size_t alignment = large ? kLargePage : kAlignment;
    const std::size_t bytes = (size * sizeof(T) + alignment - 1) / alignment * alignment;
    const bool mapped = !large && bytes >= mapped_from();
    void* const memory = mapped ? map(bytes) : std::aligned_alloc(alignment, bytes);
    if (memory == nullptr) throw std::bad_alloc();
    data_ = {static_cast<T*>(memory), Free{mapped ? bytes : 0}};
    if (large) ::madvise(memory, bytes, MADV_HUGEPAGE);  // advice only
  }
  // What was moved from is empty.
  AlignedArray(AlignedArray&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedArray& operator=(AlignedArray&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  [[nodiscard]] T* data() { return data_.get(); }
  [[nodiscard]] const T* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& operator[](std::size_t i) { return data_.get()[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return data_.get()[i]; }
  [[nodiscard]] std::span<T> span() { return {data_.get(), size_}; }
  [[nodiscard]] std::span<const T> span() const { return {data_.get(), size_}; }

  // Makes room for at least `size` elements; the content is undefined afterwards if it had to grow.
  // Throws std::bad_alloc and keeps what was there when the memory cannot be had.
  void reserve(std::size_t size, MemoryUse use = MemoryUse::kPlain) {
    if (size > size_) *this = AlignedArray(size, use);
  }

 private:
  struct Free {
    std::size_t mapped_bytes = 0;  // 0: from the heap
    void operator()(T* pointer) const {
      if (mapped_bytes > 0) {
        ::munmap(pointer, mapped_bytes);
      } else {
        std::free(pointer);
      }
    }
  };
  static void* map(std::size_t bytes) {
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  }
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

// Gives the whole pages inside `bytes` back to the system. Those of memory of one's own lose what
// stood there; those of a mapping of a file that was never written to come again when they are
// read. Advice: where the system does not take it, nothing happens.
void drop_pages(std::span<const std::byte> bytes);

// Gives std::vector memory on a 64-byte boundary.
template <typename T>
struct AlignedAllocator {
  using value_type = T;  // NOLINT(readability-identifier-naming): what std::vector asks for
  AlignedAllocator() = default;
  template <typename U>
  explicit AlignedAllocator(const AlignedAllocator<U>& /*other*/) {}
  [[nodiscard]] T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{kAlignment}));
  }
  void deallocate(T* pointer, std::size_t /*n*/) {
    ::operator delete(pointer, std::align_val_t{kAlignment});
  }
  bool operator==(const AlignedAllocator& /*other*/) const { return true; }
};

// Grows and is copied as std::vector; for fixed scratch AlignedArray is plainer.
template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace restkv
