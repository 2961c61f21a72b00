#include "base/threads.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace restkv {
namespace {

TEST(Threads, CountIsAsAskedOrTheMachines) {
  EXPECT_EQ(Threads(1).count(), 1);
  EXPECT_EQ(Threads(7).count(), 7);
  EXPECT_GE(Threads().count(), 1);
  EXPECT_EQ(Threads(-3).count(), Threads().count());
}

TEST(Threads, EveryIndexOnce) {
  for (const int count : {1, 2, 3, 8}) {
    const Threads threads(count);
    for (const std::size_t n : {0U, 1U, 2U, 7U, 1000U}) {
      std::vector<std::atomic<int>> calls(n);
      threads.for_each(n, [&](std::size_t i) { ++calls.at(i); });
      for (const auto& of_index : calls) EXPECT_EQ(of_index, 1);
    }
  }
}

TEST(Threads, NoTwoCallsOfOneWorkerAtATime) {
  for (const int count : {1, 2, 5}) {
    const Threads threads(count);
    std::vector<std::atomic<int>> inside(static_cast<std::size_t>(count));
    std::atomic<int> calls = 0;
    std::atomic<bool> overlapped = false;
    threads.for_each_worker(500, [&](std::size_t /*i*/, std::size_t worker) {
      if (worker >= inside.size() || ++inside[worker] != 1) {
        overlapped = true;
        return;
      }
      ++calls;
      std::this_thread::yield();
      --inside[worker];
    });
    EXPECT_FALSE(overlapped);
    EXPECT_EQ(calls, 500);
  }
}

// A body waits for its neighbour, which one thread alone would not start before the wait is over.
TEST(Threads, WorkAtTheSameTime) {
  if (omp_get_thread_limit() < 2) GTEST_SKIP() << "OpenMP may use one thread only";
  const Threads threads(2);
  std::atomic<int> arrived = 0;
  std::atomic<int> met = 0;
  threads.for_each(2, [&](std::size_t /*i*/) {
    ++arrived;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arrived < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    met += arrived == 2 ? 1 : 0;
  });
  EXPECT_EQ(met, 2);
}

TEST(Threads, NestedCallsRunOnTheCallingThread) {
  const Threads threads(3);
  std::vector<std::atomic<int>> calls(12);
  std::atomic<bool> elsewhere = false;
  threads.for_each(3, [&](std::size_t i) {
    const auto outer = std::this_thread::get_id();
    threads.for_each_worker(4, [&](std::size_t j, std::size_t worker) {
      if (std::this_thread::get_id() != outer || worker != 0) elsewhere = true;
      ++calls[4 * i + j];
    });
  });
  EXPECT_FALSE(elsewhere);
  for (const auto& of_index : calls) EXPECT_EQ(of_index, 1);
}

// A shared engine may be asked from several threads of its user.
TEST(Threads, SeveralCallersAtATime) {
  const Threads threads(2);
  std::vector<std::atomic<int>> calls(300);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < 3; ++caller) {
    callers.emplace_back(
        [&, caller] { threads.for_each(100, [&](std::size_t i) { ++calls[100 * caller + i]; }); });
  }
  for (std::thread& caller : callers) caller.join();
  for (const auto& of_index : calls) EXPECT_EQ(of_index, 1);
}

TEST(OneThread, HoldsForItsLifeOnly) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  {
    const OneThread one;
    EXPECT_EQ(omp_get_max_threads(), 1);
  }
  EXPECT_EQ(omp_get_max_threads(), 3);
  omp_set_num_threads(before);
}

}  // namespace
}  // namespace restkv
