#pragma once

// How long work tells how far it is: a bar on a terminal, a line now and then elsewhere.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace restkv {

enum class ProgressUnit : std::uint8_t { kBytes, kTokens };

struct ProgressTask {
  std::string label;
  ProgressUnit unit = ProgressUnit::kBytes;
  std::uint64_t total = 0;
  std::uint64_t start = 0;  // done before this run, and so no part of the rate
};

// One task after another. Used by one thread at a time.
class Progress {
 public:
  virtual ~Progress() = default;
  // Ends the task before it, if there is one.
  virtual void begin(const ProgressTask& task) = 0;
  // `done` counts from the beginning of the whole task, `start` included. Cheap enough to be called
  // thousands of times a second.
  virtual void update(std::uint64_t done) = 0;
  // One line of news, without its line break.
  virtual void note(std::string_view line) = 0;
  // Ends the task at the state last told; without a task, nothing happens.
  virtual void end() = 0;
};

// Writes to `stream`, which must outlive it: a bar that is drawn anew when the stream is a
// terminal, else one line at every tenth of a task.
std::unique_ptr<Progress> make_progress(std::FILE* stream);

// "reading  52.1 MiB of 468.6 MiB  11 %  8.3 MiB/s  50 s left". The rate and the rest of the time
// are left out while nothing has been done.
std::string progress_text(const ProgressTask& task, std::uint64_t done, double elapsed_seconds);

}  // namespace restkv
