#pragma once

// The KV report as people and as programs read it.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "cli/questions.h"
#include "cli/session.h"
#include "restkv/engine.h"
#include "restkv/report.h"
#include "text/sampler.h"

namespace restkv {

// What one answer took, beside what the cache did.
struct AnswerTimings {
  std::size_t prompt_n = 0;
  double prompt_ms = 0;
  double compress_ms = 0;
  double ttft_ms = 0;
  std::size_t predicted_n = 0;
  double predicted_ms = 0;
  double predicted_per_second = 0;  // decode steps per second
};
AnswerTimings answer_timings(std::size_t prompt_tokens, const PrefillTimings& prefill,
                             const KvReport& report, const Generation& generation);

// The object that `run --json` prints for one answer.
nlohmann::ordered_json answer_json(const Engine& engine, const Generation& generation,
                                   const KvReport& report, const AnswerTimings& timings);
// How the answer's tokens were picked: an object of `run --json`. With this seed as -s, and the
// rest as it was, the same tokens are drawn. A greedy answer has no seed. REQUIRES: a seed, unless
// greedy
nlohmann::ordered_json sampling_json(const SamplerOptions& options);
// What decode read: an object of `run --json` and of every other report.
nlohmann::ordered_json decode_json(const DecodeReport& report);
// {"layers": [[[positions], ...], ...]}: kept rows per layer and KV head.
nlohmann::ordered_json kept_json(const KeptPositions& kept);

// Some lines for a person, ending with a line break.
std::string report_text(const KvReport& report, const AnswerTimings& timings, StopReason stop,
                        QueryMode mode);

// The line after these that says how the tokens were drawn; nothing for a greedy answer.
std::string sampling_text(const SamplerOptions& options);

// "cap", "chunk:200 (an approximation)".
std::string schedule_text(std::string_view policy, const std::string& schedule);

// "12.3 MiB".
std::string mib(std::size_t bytes);

}  // namespace restkv
