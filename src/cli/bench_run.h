#pragma once

// Measures the cases of `restkv bench`, one after the other.

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/process.h"
#include "cli/bench_options.h"
#include "cli/bench_row.h"
#include "restkv/engine.h"

namespace restkv {

// The process's peak of resident memory from begin() on. Where the system cannot start it anew,
// only the first peak of an otherwise unused process is known.
class PeakMemory {
 public:
  // used: the process has had other work, whose memory must not count.
  explicit PeakMemory(bool used, bool (*reset)() = reset_peak_rss) : used_(used), reset_(reset) {}
  void begin() {
    const bool anew = reset_();
    known_ = anew || !used_;
    used_ = true;
  }
  [[nodiscard]] std::optional<std::size_t> bytes() const {
    return known_ ? std::optional(peak_rss_bytes()) : std::nullopt;
  }

 private:
  bool used_;
  bool (*reset_)();
  bool known_ = false;
};

// Keeps the engine and the filled cache from case to case while they fit. One at a time in a
// process: the peak of its memory is part of the result.
class BenchRunner {
 public:
  // What `--machine` measured, by number of threads; empty without it.
  BenchRunner(const BenchOptions& options, std::map<int, MachineSpeed> machine,
              const std::atomic<bool>& cancel)
      : options_(options),
        machine_(std::move(machine)),
        cancel_(cancel),
        peak_(!machine_.empty()) {}

  // The file that the next cases are measured on. The model before it goes.
  void take_model(std::string path);
  // REQUIRES: a model. kCancelled when the flag is raised; what was measured of this case is lost.
  // Otherwise as the engine says.
  Result<BenchRow> measure(const BenchCase& test);

 private:
  struct Sample {
    std::uint64_t ns = 0;
    double ttft_ms = 0;
    RowCounts prefill_rows;
    RowCounts decode_rows;
    std::size_t kv_bytes = 0;
    std::size_t kv_bytes_peak = 0;
    std::size_t hidden_bytes = 0;
    std::string kv_budget;
  };
  Result<void> prepare(const BenchCase& test);
  Result<void> warm_up(const BenchCase& test);
  Result<double> reading_speed(const BenchCase& test);
  Result<Sample> sample(const BenchCase& test, const std::vector<Token>& prompt);
  Result<Sequence> read_prompt(const BenchCase& test, std::span<const Token> prompt);
  Result<void> generate(Sequence& sequence, std::size_t n);
  Result<void> check_cancel() const;
  [[nodiscard]] BenchRow row_of(const BenchCase& test) const;
  // A token, and n of them, the same for the same seed and stream.
  [[nodiscard]] Token token_at(std::uint64_t stream, std::size_t i) const;
  [[nodiscard]] std::vector<Token> tokens_of(std::size_t n, std::uint64_t stream) const;

  std::string model_path_;
  const BenchOptions& options_;
  std::map<int, MachineSpeed> machine_;
  const std::atomic<bool>& cancel_;

  std::unique_ptr<Engine> engine_;
  std::optional<Sequence> base_;  // the cache at its depth; of the case prepared last
  std::optional<BenchCase> prepared_;
  std::vector<float> logits_;
  PeakMemory peak_;
  bool process_peak_is_known_ = true;
};

}  // namespace restkv
