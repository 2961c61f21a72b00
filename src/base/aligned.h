#pragma once

// Memory aligned for vector loads, and the failure of getting it as a value instead of a throw.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include <sys/mman.h>

namespace restkv {

inline constexpr std::size_t kAlignment = 64;  // bytes: a cache line, and the widest vector
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

// kLarge: read from end to end again and again, and worth the largest pages that the system has.
enum class MemoryUse : std::uint8_t { kPlain, kLarge };

// A fixed array of trivial elements on a 64-byte boundary, not initialised. Move only.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  // Throws std::bad_alloc when the memory cannot be had; see also try_make().
  explicit AlignedArray(std::size_t size, MemoryUse use = MemoryUse::kPlain) : size_(size) {
    if (size == 0) return;
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    const bool large = use == MemoryUse::kLarge && size * sizeof(T) >= kLargePage;
    const std::size_t alignment = large ? kLargePage : kAlignment;
    const std::size_t bytes = (size * sizeof(T) + alignment - 1) / alignment * alignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(alignment, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    if (large) ::madvise(data_.get(), bytes, MADV_HUGEPAGE);  // advice only
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
    void operator()(T* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace restkv
