#pragma once

// Facts about this process.

#include <cstddef>

namespace restkv {

// The most memory that the process has had resident so far, in bytes.
[[nodiscard]] std::size_t peak_rss_bytes();

}  // namespace restkv
