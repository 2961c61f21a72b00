#include "cli/interrupt.h"

namespace restkv {
namespace {

std::atomic<bool> interrupt_flag{false};
std::atomic<bool> terminate_flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // or a handler could not set it

void raise_flag(int signal) {
  if (signal == SIGTERM) terminate_flag.store(true, std::memory_order_relaxed);
  interrupt_flag.store(true, std::memory_order_relaxed);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt_flag.store(false, std::memory_order_relaxed);
  terminate_flag.store(false, std::memory_order_relaxed);
  struct sigaction action{};
  action.sa_handler = raise_flag;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before_int_);
  sigaction(SIGTERM, &action, &before_term_);
  // Who started the program may have wanted it not to hear one: a job in the background.
  if (before_int_.sa_handler == SIG_IGN) sigaction(SIGINT, &before_int_, nullptr);
  if (before_term_.sa_handler == SIG_IGN) sigaction(SIGTERM, &before_term_, nullptr);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &before_int_, nullptr);
  sigaction(SIGTERM, &before_term_, nullptr);
}

const std::atomic<bool>& InterruptGuard::flag() const { return interrupt_flag; }

bool InterruptGuard::terminated() const { return terminate_flag.load(std::memory_order_relaxed); }

}  // namespace restkv
