#pragma once

// The process's memory, for tests of what is let go of.

#include <cstddef>
#include <fstream>

#include <unistd.h>

namespace restkv {

// Of the whole process, in memory now.
inline std::size_t resident_bytes() {
  std::ifstream status("/proc/self/statm");
  std::size_t size = 0;
  std::size_t resident = 0;
  status >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace restkv
