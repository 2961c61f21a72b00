#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "base/clock.h"
#include "base/format.h"

namespace restkv {
namespace {

constexpr std::size_t kBarCells = 24;
constexpr std::size_t kFallbackColumns = 80;
constexpr std::chrono::milliseconds kRedrawEvery{100};
constexpr std::chrono::seconds kLineEvery{1};
constexpr int kLinesPerTask = 10;

std::string amount_text(double amount, ProgressUnit unit) {
  if (unit == ProgressUnit::kTokens) {
    return format(amount < 100 ? "%.1f" : "%.0f", amount);
  }
  return format("%.1f MiB", amount / (1024.0 * 1024.0));
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long>(std::ceil(seconds));
  if (whole < 60) {
    return format("%ld s", whole);
  }
  if (whole < 3600) {
    return format("%ld min %02ld s", whole / 60, whole % 60);
  }
  return format("%ld h %02ld min", whole / 3600, whole % 3600 / 60);
}

// In [0, 1]; a task of nothing is done.
double share(const ProgressTask& task, std::uint64_t done) {
  return task.total == 0
             ? 1.0
             : std::min(1.0, static_cast<double>(done) / static_cast<double>(task.total));
}

std::size_t terminal_columns(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                      : kFallbackColumns;
}

class StreamProgress : public Progress {
 public:
  StreamProgress(std::FILE* stream, bool terminal) : stream_(stream), terminal_(terminal) {}
  ~StreamProgress() override { end(); }
  StreamProgress(const StreamProgress&) = delete;
  StreamProgress& operator=(const StreamProgress&) = delete;

  void begin(const ProgressTask& task) override {
    end();
    task_ = task;
    ended_ = false;
    done_ = task.start;
    began_ = Clock::now();
    drawn_at_ = began_;
    lines_ = static_cast<int>(share(*task_, done_) * kLinesPerTask);
    if (terminal_) {
      draw_bar();
    }
  }

  void update(std::uint64_t done) override {
    if (!task_) {
      return;
    }
    done_ = done;
    if (terminal_) {
      if (Clock::now() - drawn_at_ >= kRedrawEvery) {
        draw_bar();
      }
    } else if (const int lines = static_cast<int>(share(*task_, done_) * kLinesPerTask);
               lines > lines_ && lines < kLinesPerTask && Clock::now() - drawn_at_ >= kLineEvery) {
      lines_ = lines;
      print_line();
    }
  }

  void note(std::string_view line) override {
    std::fprintf(stream_, "%s%.*s\n", terminal_ ? "\r\033[K" : "", static_cast<int>(line.size()),
                 line.data());
    if (terminal_ && task_) {
      draw_bar();
    }
    std::fflush(stream_);
  }

  void end() override {
    if (!task_) {
      return;
    }
    ended_ = true;
    if (terminal_) {
      draw_bar();
      std::fputc('\n', stream_);
      std::fflush(stream_);
    } else if (done_ > task_->start) {
      print_line();
    }
    task_.reset();
  }

 private:
  // Of a task that ended before it was done, the time left would be no news.
  [[nodiscard]] std::string text() const {
    const bool stopped = ended_ && done_ < task_->total;
    const std::chrono::duration<double> elapsed = Clock::now() - began_;
    return progress_text(*task_, done_, stopped ? 0 : elapsed.count());
  }

  void print_line() {
    drawn_at_ = Clock::now();
    std::fprintf(stream_, "%s\n", text().c_str());
    std::fflush(stream_);
  }

  // Never wider than the terminal: a line that wraps could not be drawn over.
  void draw_bar() {
    drawn_at_ = Clock::now();
    const auto full = static_cast<std::size_t>(share(*task_, done_) * kBarCells);
    std::string line =
        "[" + std::string(full, '#') + std::string(kBarCells - full, '.') + "] " + text();
    line.resize(std::min(line.size(), terminal_columns(fileno(stream_)) - 1));
    std::fprintf(stream_, "\r%s\033[K", line.c_str());
    std::fflush(stream_);
  }

  std::FILE* stream_;
  bool terminal_;
  std::optional<ProgressTask> task_;
  bool ended_ = false;  // the task in hand draws its last line
  std::uint64_t done_ = 0;
  Clock::time_point began_;
  Clock::time_point drawn_at_;
  int lines_ = 0;
};

}  // namespace

std::unique_ptr<Progress> make_progress(std::FILE* stream) {
  return std::make_unique<StreamProgress>(stream, isatty(fileno(stream)) == 1);
}

std::string progress_text(const ProgressTask& task, std::uint64_t done, double elapsed_seconds) {
  const bool bytes = task.unit == ProgressUnit::kBytes;
  std::string text = task.label + "  ";
  if (bytes) {
    text += amount_text(static_cast<double>(done), task.unit) + " of " +
            amount_text(static_cast<double>(task.total), task.unit);
  } else {
    text += std::to_string(done) + " of " + std::to_string(task.total) + " tokens";
  }
  text += format("  %d %%", static_cast<int>(share(task, done) * 100));
  if (done <= task.start || elapsed_seconds <= 0) {
    return text;
  }
  const double rate = static_cast<double>(done - task.start) / elapsed_seconds;
  text += "  " + amount_text(rate, task.unit) + (bytes ? "/s" : " tokens/s");
  if (done < task.total) {
    text += "  " + duration_text(static_cast<double>(task.total - done) / rate) + " left";
  } else {
    text += "  in " + duration_text(elapsed_seconds);
  }
  return text;
}

}  // namespace restkv
