#pragma once

// Ctrl-C that stops cleanly: the work in hand sees a flag and ends itself.

#include <signal.h>

#include <atomic>

namespace restkv {

// While one lives, the first SIGINT or SIGTERM sets flag(); a second one ends the process as if
// there were none. At most one at a time in a process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Lives as long as the process; lowered when a guard is made.
  [[nodiscard]] const std::atomic<bool>& flag() const;
  [[nodiscard]] bool interrupted() const { return flag().load(std::memory_order_relaxed); }
  // Whether a SIGTERM was among them: for who goes on after a SIGINT.
  [[nodiscard]] bool terminated() const;

 private:
  struct sigaction before_int_{};
  struct sigaction before_term_{};
};

}  // namespace restkv
