#pragma once

// One row of `restkv bench`: what was measured, under llama-bench's names where it is the same.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench_machine.h"
#include "cli/bench_options.h"
#include "cli/bench_work.h"
#include "restkv/engine.h"
#include "restkv/model_info.h"

namespace restkv {

struct BenchRow {
  BenchCase test;
  BenchFill fill = BenchFill::kPrompt;  // of the depth
  ModelInfo model = {};
  std::string model_type;         // "qwen2 494M Q4_K - Medium"
  std::string isa;                // the kernel table in use
  EngineOptions engine = {};      // as asked
  std::string products = {};      // of the prompt, of what is generated, or "a, b" for both
  std::string decode_table = {};  // file of block sizes, as typed
  std::string build_commit = {};
  std::string cpu_info;
  std::string test_time;                     // RFC 3339, UTC, when the measurement began
  std::string kv_budget = {};                // as the cache's report says it: "100%" for a full one
  std::vector<double> prefill_density = {};  // as PrefillReport says it; empty without a prompt
  std::vector<std::uint64_t> samples_ns = {};
  std::vector<double> ttft_ms =
      {};                    // one for each sample with a prompt: until the first token is known
  std::size_t kv_bytes = 0;  // what the cache held at the end
  std::size_t kv_bytes_peak = 0;  // and at the most, and the hidden states, while a prompt was read
  std::size_t hidden_bytes = 0;
  // Of the process, from the filled depth to the end; nullopt where the system can only tell what
  // came before as well.
  std::optional<std::size_t> peak_rss_bytes = {};
  // Since its start, the model's loading included; empty where what --machine reads may be in it.
  std::optional<std::size_t> process_peak_rss_bytes = std::nullopt;
  BenchWork work = {};  // of one sample
  // On as many threads as the test; bytes_per_s: the mean of before and after it.
  std::optional<MachineSpeed> machine = {};
};

// Mean, and standard deviation with n - 1; 0 for fewer than two numbers.
[[nodiscard]] double mean_of(const std::vector<double>& numbers);
[[nodiscard]] double deviation_of(const std::vector<double>& numbers);

// Tokens per second of each sample.
[[nodiscard]] std::vector<double> sample_rates(const BenchRow& row);

// "pp512", "tg128", "pp512+tg128", and " @ d4096" behind it.
[[nodiscard]] std::string test_name(const BenchRow& row);

// The policy with the options that it was given: "rest-kv", "snapkv:kernel=5".
[[nodiscard]] std::string policy_text(const KvOptions& options);
[[nodiscard]] std::string allocator_text(const KvOptions& options);
// "dense", "quest:block=32 512".
[[nodiscard]] std::string decode_text(const KvOptions& options);
// "dense", "xattention:stride=8".
[[nodiscard]] std::string prefill_text(const PrefillAttention& attention);

// Which of the machine's two limits the test would meet first, and what share of it was reached.
struct LimitShare {
  std::string_view limit;  // "flops" or "bandwidth"
  double share = 0;        // 1 = as fast as the machine
};
// nullopt when the machine was not measured.
[[nodiscard]] std::optional<LimitShare> limit_share(const BenchRow& row);

enum class FieldKind : std::uint8_t { kText, kInteger, kNumber, kBool };
struct Field {
  std::string_view name;
  FieldKind kind = FieldKind::kText;
  std::string value;  // empty for a number that there is none of; "0" or "1" for a kBool
};
// All fields in the order of the columns; the same names for every row of a run.
[[nodiscard]] std::vector<Field> fields_of(const BenchRow& row);

}  // namespace restkv
