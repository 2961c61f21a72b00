#pragma once

// What a cache holds and what was dropped: every answer carries one.

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "restkv/decode_options.h"
#include "restkv/params.h"
#include "restkv/prefill_attention.h"
#include "restkv/types.h"

namespace restkv {

// Rows are counted per layer and KV head, or per query head where each keeps its own. "Prompt" is
// what the last prefill saw, earlier turns included.
struct KvReport {
  std::string policy;
  std::string allocator;
  std::vector<ParamValues::Assignment> options;  // policy's, then allocator's, then common ones
  std::string budget;                            // as asked: "1024" or "10%"
  std::size_t budget_rows = 0;                   // rows per head and layer that this came to
  // A percent budget was below the protected rows and was raised to them.
  bool budget_raised = false;
  bool untouched = true;  // nothing was dropped: the prompt fitted
  std::size_t prompt_tokens = 0;
  // Right after the prefill.
  std::size_t kept_tokens_min = 0;
  double kept_tokens_mean = 0;
  std::size_t kept_tokens_max = 0;
  double stored_tokens_mean = 0;   // rows of a KV head in memory: what any of its heads keeps
  double dropped_tokens_mean = 0;  // of the rows that a full cache would hold; by earlier turns too
  std::size_t bytes = 0;           // what the cache holds
  std::size_t bytes_full = 0;      // what a full cache of the prompt would hold
  std::size_t bytes_peak = 0;      // own rows, the largest layer in full, a shared prefix
  std::size_t hidden_bytes = 0;    // the prompt's hidden states while it was read; not in the above
  // Now.
  std::size_t end_tokens_max = 0;
  // Of the prefill, all layers: a replay, scoring, allocating and compacting, as if it were alone.
  double compress_ms = 0;

  std::string granularity = "kv-head";  // whose rows these are: "kv-head" or "query-head"

  // While generating, since the last prefill; all 0 unless the schedule acts there.
  std::string schedule;          // as asked: "once", "every:256", "cap", "chunk:2048"
  std::size_t compressions = 0;  // steps after which rows went
  double generated_dropped = 0;  // rows that went, mean over layers and heads
  double generated_compress_ms = 0;
  std::size_t query_bytes = 0;  // queries of the newest tokens, for the next score; not in bytes
  DecodeReport decode = {};     // as of now
  PrefillReport prefill = {};   // of the last prefill; the same for all variants that shared it

  // A text and then the question about it, as one: the peaks are the larger ones, times add up, and
  // `prefill` is the text's, for a question is read densely.
  void add_earlier(const KvReport& text) {
    bytes_peak = std::max(bytes_peak, text.bytes_peak);
    hidden_bytes = std::max(hidden_bytes, text.hidden_bytes);
    compress_ms += text.compress_ms;
    prefill = text.prefill;
  }
};

// Original positions that are held now, per layer and head that keeps rows of its own:
// [n_layer][n_kv_head], or [n_layer][n_head] where query heads do and a group has more than one.
using KeptPositions = std::vector<std::vector<std::vector<Position>>>;

}  // namespace restkv
