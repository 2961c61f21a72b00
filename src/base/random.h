#pragma once

// Random numbers that are the same everywhere: SplitMix64 (Steele, Lea, Flood 2014).

#include <cstdint>

namespace restkv {

// The next number of the sequence that `state` stands in.
[[nodiscard]] inline std::uint64_t next_random(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// A number that depends on all four: a draw that does not depend on the order of drawing.
[[nodiscard]] inline std::uint64_t random_at(std::uint64_t seed, std::uint64_t a, std::uint64_t b,
                                             std::uint64_t c) {
  std::uint64_t state = seed;
  state = next_random(state) ^ a;
  state = next_random(state) ^ b;
  state = next_random(state) ^ c;
  return next_random(state);
}

}  // namespace restkv
