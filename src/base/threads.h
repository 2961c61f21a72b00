#pragma once

// The one thread pool of the process: OpenMP's, which ggml and oneDNN use as well.

#include <cstddef>
#include <functional>

namespace restkv {

// How many threads may work, and the one way to put them to work. Immutable; share by reference.
class Threads {
 public:
  // count < 1 means one for every hardware thread that this process may run on.
  explicit Threads(int count = 0);

  [[nodiscard]] int count() const { return count_; }

  // Calls body(i) once for each i in [0, n), on up to count() threads, in any order, and returns
  // when all are done. Called from inside a body, it runs on the calling thread alone. REQUIRES:
  // body does not throw; calls for different i touch different data.
  void for_each(std::size_t n, const std::function<void(std::size_t)>& body) const;

  // As for_each, but body(i, worker) also learns which of the count() workers runs it: for scratch.
  // Called from inside a body, it is worker 0 on every thread: scratch of such a call is the
  // body's.
  void for_each_worker(std::size_t n,
                       const std::function<void(std::size_t, std::size_t)>& body) const;

 private:
  int count_;
};

// While it lives, libraries that use OpenMP (oneDNN, ggml) work on the calling thread alone.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace restkv
