#pragma once

// A checksum that tells things apart that nobody made alike on purpose: FNV-1a, 64 bits (Fowler,
// Noll, Vo). It withstands mistakes, no attack.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace restkv {

class Hash {
 public:
  void add(std::byte byte) {
    state_ = (state_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3ULL;
  }
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) add(byte);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  // The bytes of a number, the lowest first.
  void add(std::int32_t number) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      add(static_cast<std::byte>((static_cast<std::uint32_t>(number) >> shift) & 0xFFU));
    }
  }

  [[nodiscard]] std::uint64_t value() const { return state_; }
  // 16 hexadecimal digits.
  [[nodiscard]] std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(state_));
    return digits;
  }

 private:
  std::uint64_t state_ = 0xCBF29CE484222325ULL;
};

}  // namespace restkv
