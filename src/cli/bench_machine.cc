#include "cli/bench_machine.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <new>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/peak.h"

namespace restkv {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPassSeconds = 0.05;
constexpr int kPasses = 8;
constexpr std::size_t kBufferFloats = std::size_t{96} << 20U;  // 384 MiB, of all threads together
constexpr std::size_t kShareUnit = 1024;                       // floats; as a ReadLoop wants it
constexpr double kReadSeconds = 0.3;                           // for each way of reading

double seconds_of(const std::function<void()>& work) {
  const Clock::time_point start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Keeps the results of the loops: what nobody could read would not have to be computed.
std::atomic<float> kept_result{0.0F};

Result<void> check(const std::atomic<bool>& cancel) {
  if (!cancel.load()) return {};
  return Error{ErrorCode::kCancelled, "interrupted while measuring the machine"};
}

Result<double> multiply_speed(const MultiplyLoop& loop, const Threads& threads,
                              const std::atomic<bool>& cancel) {
  const auto n = static_cast<std::size_t>(threads.count());
  std::size_t steps = 1000;
  const auto pass = [&] {
    return seconds_of(
        [&] { threads.for_each(n, [&](std::size_t) { kept_result.store(loop.run(steps)); }); });
  };
  // The shortest of three: one pass may be long because something else had the processor.
  while (std::min({pass(), pass(), pass()}) < kPassSeconds) steps *= 2;
  double best = 0;
  for (int i = 0; i < kPasses; ++i) {
    RESTKV_TRY(check(cancel));
    const double work = loop.operations_per_step * static_cast<double>(steps * n);
    best = std::max(best, work / pass());
  }
  return best;
}

Result<double> read_speed(const Threads& threads, const std::atomic<bool>& cancel) try {
  const auto n = static_cast<std::size_t>(threads.count());
  const std::size_t share = kBufferFloats / n / kShareUnit * kShareUnit;
  // In the largest pages, as weights and caches are held.
  AlignedArray<float> buffer(share * n, MemoryUse::kLarge);
  // The first touch places the memory; ones, so that no page stays the system's page of zeros.
  threads.for_each(n, [&](std::size_t i) { std::fill_n(buffer.data() + i * share, share, 1.0F); });
  double best = 0;
  for (const ReadLoop& loop : read_loops()) {
    double spent = 0;
    while (spent < kReadSeconds) {
      RESTKV_TRY(check(cancel));
      const double seconds = seconds_of([&] {
        threads.for_each(n, [&](std::size_t part) {
          kept_result.store(loop.run(buffer.data() + part * share, share));
        });
      });
      spent += seconds;
      best = std::max(best, static_cast<double>(share * n * sizeof(float)) / seconds);
    }
  }
  return best;
} catch (const std::bad_alloc&) {
  return Error{ErrorCode::kOutOfMemory, "no memory to measure how fast it is read"};
}

}  // namespace

Result<MachineSpeed> measure_machine(int n_threads, const std::atomic<bool>& cancel) {
  const Threads threads(n_threads);
  MachineSpeed speed{.n_threads = threads.count()};
  for (const MultiplyLoop& loop : multiply_loops()) {
    RESTKV_ASSIGN(const double flops, multiply_speed(loop, threads, cancel));
    speed.loops.push_back({.name = std::string(loop.name), .flops = flops});
    if (loop.elements == LoopElements::kFloat) speed.flops = std::max(speed.flops, flops);
    speed.product_flops = std::max(speed.product_flops, flops);
  }
  RESTKV_ASSIGN(speed.bytes_per_s, read_speed(threads, cancel));
  return speed;
}

Result<double> measure_reading(int n_threads, const std::atomic<bool>& cancel) {
  return read_speed(Threads(n_threads), cancel);
}

std::string machine_line(const MachineSpeed& speed) {
  char buffer[64];
  std::string line = "machine: " + std::to_string(speed.n_threads) +
                     (speed.n_threads == 1 ? " thread  " : " threads  ");
  for (const LoopSpeed& loop : speed.loops) {
    std::snprintf(buffer, sizeof(buffer), "%.1f GFLOPS ", loop.flops / 1e9);
    line += buffer + loop.name + ", ";
  }
  std::snprintf(buffer, sizeof(buffer), "%.1f GB/s read", speed.bytes_per_s / 1e9);
  return line + buffer;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace restkv
