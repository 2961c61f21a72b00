#include "base/process.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstring>

namespace restkv {
namespace {

constexpr std::size_t kBytes = std::size_t{64} << 20U;

void touch_and_let_go() {
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  munmap(memory, kBytes);
}

TEST(Process, ThePeakStaysUntilItIsReset) {
  if (!reset_peak_rss()) GTEST_SKIP() << "this system cannot reset the peak";
  const std::size_t before = peak_rss_bytes();
  ASSERT_GT(before, 0U);
  touch_and_let_go();
  const std::size_t peak = peak_rss_bytes();
  EXPECT_GE(peak, before + kBytes / 2);
  ASSERT_TRUE(reset_peak_rss());
  EXPECT_LT(peak_rss_bytes(), peak - kBytes / 2);
  EXPECT_GE(process_peak_rss_bytes(), peak);
  touch_and_let_go();
  EXPECT_GE(process_peak_rss_bytes(), peak);
}

TEST(Process, WhatIsForgottenNeverWas) {
  const std::size_t before = process_peak_rss_bytes();
  touch_and_let_go();
  const std::size_t grown = process_peak_rss_bytes();
  if (!forget_peak_rss(before)) GTEST_SKIP() << "this system cannot reset the peak";
  EXPECT_LT(peak_rss_bytes(), grown);
  EXPECT_GE(process_peak_rss_bytes(), before);
  // The test before this one may have had as much: then it cannot be told.
  if (grown > before) {
    EXPECT_LT(process_peak_rss_bytes(), grown);
  }
}

}  // namespace
}  // namespace restkv
