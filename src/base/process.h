#pragma once

// Facts about this process.

#include <cstddef>

namespace restkv {

// The most memory that the process has had resident since its start or the last reset, in bytes.
[[nodiscard]] std::size_t peak_rss_bytes();

// The same since the start, whatever was reset through reset_peak_rss().
[[nodiscard]] std::size_t process_peak_rss_bytes();

// Starts a new measurement of the peak. False where the system cannot: the peak stays what it was.
bool reset_peak_rss();

// The same for what must not count at all: as if the process had never had more than `before`,
// which process_peak_rss_bytes() was then.
bool forget_peak_rss(std::size_t before);

}  // namespace restkv
