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

}  // namespace restkv
