#pragma once

// A GGUF file put together byte by byte, so that any part of it can lie.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace restkv {

class RawGguf {
 public:
  // The codes of the format's value types that the tests use.
  static constexpr std::uint32_t kU32 = 4;
  static constexpr std::uint32_t kBool = 7;
  static constexpr std::uint32_t kString = 8;
  static constexpr std::uint32_t kArray = 9;

  template <typename T>
  RawGguf& put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  RawGguf& u32(std::uint32_t value) { return put(value); }
  RawGguf& u64(std::uint64_t value) { return put(value); }
  RawGguf& raw(std::string_view text) {
    bytes_.append(text);
    return *this;
  }
  RawGguf& text(std::string_view value) { return u64(value.size()).raw(value); }
  RawGguf& zeros(std::size_t n) {
    bytes_.append(n, '\0');
    return *this;
  }
  RawGguf& pad(std::size_t alignment) {
    return zeros((alignment - bytes_.size() % alignment) % alignment);
  }

  RawGguf& header(std::uint64_t n_tensor, std::uint64_t n_key) {
    return raw("GGUF").u32(3).u64(n_tensor).u64(n_key);
  }
  RawGguf& architecture() { return text("general.architecture").u32(kString).text("llama"); }
  // An f32 tensor's entry in the table.
  RawGguf& tensor(std::string_view name, const std::vector<std::uint64_t>& ne,
                  std::uint64_t offset = 0, std::uint32_t type = 0) {
    text(name).u32(static_cast<std::uint32_t>(ne.size()));
    for (const std::uint64_t n : ne) u64(n);
    return u32(type).u64(offset);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(bytes_));
  }

 private:
  std::string bytes_;
};

}  // namespace restkv
