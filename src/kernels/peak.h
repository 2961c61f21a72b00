#pragma once

// Loops that do nothing but what a processor can do fastest: what `restkv bench --machine` measures
// speeds against. One call runs on the calling thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace restkv {

enum class LoopElements : std::uint8_t { kFloat, kInt8 };

// Independent multiply-adds on registers, without memory.
struct MultiplyLoop {
  std::string_view name;  // "f32", "bf16 AVX-512", "bf16 AMX", "int8 AVX2", "int8 AMX", ...
  LoopElements elements = LoopElements::kFloat;
  double operations_per_step;  // a multiplication and an addition count as two
  // Returns a number that depends on all of the work, so that none of it can be left out.
  float (*run)(std::size_t steps);
};

// The loops that this machine can run; the first is always f32, by Highway's best instruction set.
std::span<const MultiplyLoop> multiply_loops();

// Reads every byte of a buffer once, by the widest loads, and returns their sum. n_float is a
// multiple of 1024; data is on a 64-byte boundary.
struct ReadLoop {
  std::string_view name;
  float (*run)(const float* data, std::size_t n_float);
};

// Which way is the fastest differs from machine to machine: as one stream, as one that is fetched
// ahead, as four side by side.
std::span<const ReadLoop> read_loops();

}  // namespace restkv
