#pragma once

// A cursor over bytes from outside that never passes their end.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace restkv {

// Little-endian, as GGUF and every machine that restkv runs on. After a failed read the cursor
// stands where it stood.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - position_; }

  // False when the bytes end first.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool read(T& value) {
    if (remaining() < sizeof(T)) return false;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }

  // A 64-bit length and as many bytes. The view points into the bytes.
  [[nodiscard]] bool read_string(std::string_view& text) {
    std::uint64_t length = 0;
    if (!read(length)) return false;
    if (length > remaining()) {
      position_ -= sizeof(length);
      return false;
    }
    text = {reinterpret_cast<const char*>(bytes_.data()) + position_, length};
    position_ += length;
    return true;
  }

  // Passes over count elements of size bytes each.
  [[nodiscard]] bool skip(std::uint64_t count, std::size_t size) {
    if (count > remaining() / size) return false;
    position_ += count * size;
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace restkv
