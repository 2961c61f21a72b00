#include "cli/progress.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace restkv {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

// What a task of 100 MiB writes to a stream that is no terminal.
std::string lines_of(std::uint64_t step) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* stream = open_memstream(&text, &size);
  {
    const auto progress = make_progress(stream);
    progress->begin({.label = "task", .total = 100 * kMiB});
    for (std::uint64_t done = 0; done <= 100 * kMiB; done += step) {
      progress->update(done);
    }
  }
  std::fclose(stream);
  std::string result(text, size);
  free(text);
  return result;
}

TEST(ProgressText, ShowsRateAndTimeLeft) {
  const ProgressTask task{.label = "fetching x", .total = 100 * kMiB};
  EXPECT_EQ(progress_text(task, 25 * kMiB, 5.0),
            "fetching x  25.0 MiB of 100.0 MiB  25 %  5.0 MiB/s  15 s left");
  EXPECT_EQ(progress_text(task, 1 * kMiB, 2.0),
            "fetching x  1.0 MiB of 100.0 MiB  1 %  0.5 MiB/s  3 min 18 s left");
  EXPECT_EQ(progress_text(task, 100 * kMiB, 20.0),
            "fetching x  100.0 MiB of 100.0 MiB  100 %  5.0 MiB/s  in 20 s");
}

TEST(ProgressText, CountsTokens) {
  const ProgressTask task{.label = "prompt", .unit = ProgressUnit::kTokens, .total = 4000};
  EXPECT_EQ(progress_text(task, 1000, 10.0),
            "prompt  1000 of 4000 tokens  25 %  100 tokens/s  30 s left");
}

TEST(ProgressText, LeavesOutTheRateOfWhatWasThere) {
  const ProgressTask task{.label = "x", .total = 100 * kMiB, .start = 50 * kMiB};
  EXPECT_EQ(progress_text(task, 50 * kMiB, 3.0), "x  50.0 MiB of 100.0 MiB  50 %");
  EXPECT_EQ(progress_text(task, 60 * kMiB, 10.0),
            "x  60.0 MiB of 100.0 MiB  60 %  1.0 MiB/s  40 s left");
}

TEST(Progress, AQuickTaskIsOneLine) {
  for (const std::uint64_t step : {1 * kMiB, 5 * kMiB / 2, kMiB / 16}) {
    const std::string text = lines_of(step);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_TRUE(text.starts_with("task  100.0 MiB of 100.0 MiB  100 %")) << text;
    EXPECT_EQ(text.find('\r'), std::string::npos);
  }
}

TEST(Progress, ATaskThatWasStoppedHasNoTimeLeft) {
  EXPECT_EQ(lines_of(70 * kMiB), "task  70.0 MiB of 100.0 MiB  70 %\n");
}

TEST(Progress, ATaskThatDidNothingIsSilent) { EXPECT_EQ(lines_of(200 * kMiB), ""); }

}  // namespace
}  // namespace restkv
