#pragma once

// Counts the bytes that caches hold now and held at the most. Thread-safe.

#include <atomic>
#include <cstddef>

namespace restkv {

class ByteCounter {
 public:
  void add(std::size_t bytes) {
    const std::size_t now = now_.fetch_add(bytes) + bytes;
    std::size_t peak = peak_.load();
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
  }
  void remove(std::size_t bytes) { now_.fetch_sub(bytes); }

  [[nodiscard]] std::size_t now() const { return now_.load(); }
  [[nodiscard]] std::size_t peak() const { return peak_.load(); }
  // Starts a new measurement of the peak.
  void reset_peak() { peak_.store(now_.load()); }

 private:
  std::atomic<std::size_t> now_{0};
  std::atomic<std::size_t> peak_{0};
};

}  // namespace restkv
