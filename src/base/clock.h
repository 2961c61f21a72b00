#pragma once

// Time spent, by a clock that is never set back.

#include <chrono>

namespace restkv {

using Clock = std::chrono::steady_clock;

// Milliseconds from `start` until now.
[[nodiscard]] inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace restkv
