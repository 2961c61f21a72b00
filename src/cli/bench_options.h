#pragma once

// What `restkv bench` is asked to measure: lists as typed, multiplied out into cases.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/bench_output.h"
#include "cli/options.h"

namespace restkv {

// How a cache gets to its depth: a prompt is read, or rows are made up
// (Engine::synthetic_sequence).
enum class BenchFill : std::uint8_t { kPrompt, kSynthetic };
[[nodiscard]] std::string_view bench_fill_name(BenchFill fill);

// Lists stay empty until they are given; finish_bench_options() puts the defaults in.
struct BenchOptions {
  CommonOptions common;
  std::vector<std::string> models;  // paths or catalogue names; empty = the default model
  std::vector<long long> prompts;
  std::vector<long long> generations;
  std::vector<std::pair<long long, long long>> pairs;  // a prompt, then tokens generated after it
  std::vector<long long> depths;
  std::vector<long long> threads;
  std::vector<long long> batches;
  std::vector<long long> micro_batches;  // each with each of `batches`: the smaller one counts
  std::vector<KvType> types_k;
  std::vector<KvType> types_v;
  std::vector<PrefillAttention> prefills;
  long long repetitions = 5;
  long long delay_s = 0;
  bool warmup = true;
  bool machine = false;
  BenchFill fill = BenchFill::kPrompt;
  BenchFormat format = BenchFormat::kMarkdown;
};

// One row to be measured. At least one of n_prompt and n_gen is not 0.
struct BenchCase {
  std::size_t n_prompt = 0;
  std::size_t n_gen = 0;
  std::size_t n_depth = 0;
  int n_threads = 0;
  std::size_t n_batch = 0;  // prompt tokens that pass a layer at a time
  KvOptions kv;
  PrefillAttention prefill = {};
};

void add_bench_flags(FlagSet& flags, BenchOptions& options);

// Threads by batches by types by decode attention by variants by prefills by depths by tests, the
// last changing fastest, so that a model and a filled cache serve as many cases as they can. Checks
// all of them; nothing is loaded yet. Empty only with --machine.
Result<std::vector<BenchCase>> bench_cases(const BenchOptions& options);

}  // namespace restkv
