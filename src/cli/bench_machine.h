#pragma once

// What the machine can do at the most: the limits that `restkv bench --machine` measures against.

#include <atomic>
#include <string>
#include <vector>

#include "restkv/result.h"

namespace restkv {

struct LoopSpeed {
  std::string name;  // as in MultiplyLoop
  double flops = 0;  // per second
};

struct MachineSpeed {
  int n_threads = 0;
  double flops = 0;          // of the fastest loop of floating-point multiply-adds, per second
  double product_flops = 0;  // of the fastest loop of all: what products with weights may use
  double bytes_per_s = 0;    // read from memory
  std::vector<LoopSpeed> loops = {};
};

// The best of several passes of about 50 ms each; takes about a second. kCancelled; kOutOfMemory
// (the buffer that is read is larger than any cache).
Result<MachineSpeed> measure_machine(int n_threads, const std::atomic<bool>& cancel);

// Bytes per second that are read from memory, alone: about a second. Errors as above.
Result<double> measure_reading(int n_threads, const std::atomic<bool>& cancel);

// "machine: 2 threads  195.0 GFLOPS f32, 640.0 GFLOPS int8 AVX2, 28.0 GB/s read"
[[nodiscard]] std::string machine_line(const MachineSpeed& speed);

// The processor's name, as Linux gives it; "unknown" elsewhere.
[[nodiscard]] std::string cpu_name();

}  // namespace restkv
