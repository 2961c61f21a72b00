#include "base/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>

namespace restkv {
namespace {

std::atomic<std::size_t> most_before_resets = 0;

}  // namespace

// getrusage() knows more than this program: its peak includes that of the process which started
// it, and outlives a reset.
std::size_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::size_t kib = 0;
  while (status >> word) {
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  struct rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

std::size_t process_peak_rss_bytes() {
  return std::max(most_before_resets.load(), peak_rss_bytes());
}

bool reset_peak_rss() { return forget_peak_rss(process_peak_rss_bytes()); }

bool forget_peak_rss(std::size_t before) {
  most_before_resets = before;
  const int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = write(file, "5", 1) == 1;
  close(file);
  return written;
}

}  // namespace restkv
