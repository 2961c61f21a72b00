#include "base/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>

namespace restkv {
namespace {

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, omp_get_num_procs());
}

}  // namespace

Threads::Threads(int count) : count_(count >= 1 ? count : usable_processors()) {}

void Threads::for_each(std::size_t n, const std::function<void(std::size_t)>& body) const {
  for_each_worker(n, [&body](std::size_t i, std::size_t /*worker*/) { body(i); });
}

void Threads::for_each_worker(std::size_t n,
                              const std::function<void(std::size_t, std::size_t)>& body) const {
  if (n == 0) return;
  if (count_ == 1 || n == 1 || omp_in_parallel() != 0) {
    for (std::size_t i = 0; i < n; ++i) body(i, 0);
    return;
  }
  // All of them, also where there is less to do: GNU's OpenMP ends the threads that a smaller team
  // does not need, and the next larger one has to start them again.
#pragma omp parallel for num_threads(count_) schedule(dynamic, 1)
  for (std::size_t i = 0; i < n; ++i) {
    body(i, static_cast<std::size_t>(omp_get_thread_num()));
  }
}

OneThread::OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
OneThread::~OneThread() { omp_set_num_threads(before_); }

}  // namespace restkv
