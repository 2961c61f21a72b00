#pragma once

// Random choices for generators: each sample of each task and length has its own stream, so that
// no sample depends on how many others are made.

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/random.h"

namespace restkv {

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  // The stream of one sample.
  Draws(std::uint64_t seed, std::string_view task, std::size_t length, std::size_t sample)
      : state_(random_at(seed, hash(task), length, sample)) {}

  // [0, n). The modulo's bias is below n / 2^64. REQUIRES: n > 0
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next_random(state_) % n); }
  // [low, high]
  long long between(long long low, long long high) {
    return low + static_cast<long long>(below(static_cast<std::size_t>(high - low + 1)));
  }
  bool coin() { return below(2) == 1; }
  // REQUIRES: not empty
  template <typename List>
  const auto& of(const List& list) {
    return list[below(list.size())];
  }
  template <typename T>
  void shuffle(std::vector<T>& list) {
    for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[below(i)]);
  }
  // `count` different numbers of [0, n), in random order. REQUIRES: count <= n
  std::vector<std::size_t> distinct(std::size_t count, std::size_t n) {
    std::vector<std::size_t> all(n);
    std::iota(all.begin(), all.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) std::swap(all[i], all[i + below(n - i)]);
    all.resize(count);
    return all;
  }
  // `count` characters of an alphabet.
  std::string characters(std::size_t count, std::string_view alphabet) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += of(alphabet);
    return text;
  }
  // A random UUID (RFC 9562, version 4), lower case.
  std::string uuid() {
    std::string text = characters(36, "0123456789abcdef");
    for (const std::size_t dash : {8, 13, 18, 23}) text[dash] = '-';
    text[14] = '4';
    text[19] = "89ab"[below(4)];
    return text;
  }

 private:
  static std::uint64_t hash(std::string_view text) {
    Hash hash;
    hash.add(text);
    return hash.value();
  }
  std::uint64_t state_;
};

inline constexpr std::string_view kLowerLetters = "abcdefghijklmnopqrstuvwxyz";
inline constexpr std::string_view kUpperLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
inline constexpr std::string_view kDigits = "0123456789";

// Orders that the benchmarks fix once for all samples are drawn from this seed.
inline constexpr std::uint64_t kFixedOrderSeed = 42;

}  // namespace restkv
