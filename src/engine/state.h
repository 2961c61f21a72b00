#pragma once

// What stands behind the public Engine and Sequence.

#include <memory>
#include <optional>
#include <vector>

#include "base/threads.h"
#include "cache/byte_counter.h"
#include "cache/kv_cache.h"
#include "engine/policy_cursors.h"
#include "engine/query_ring.h"
#include "engine/variant.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "restkv/engine.h"
#include "sparse/cache_summaries.h"

namespace restkv {

// What decode has read since the last prefill.
struct DecodeReads {
  std::size_t steps = 0;
  std::size_t heads = 0;  // over all steps, layers and KV heads; the rows are those of all of them
  std::size_t rows_read = 0;
  std::size_t rows_held = 0;
  std::size_t summary_bytes = 0;  // of the last step
};

// What the schedule did since the last prefill.
struct GeneratedCounts {
  std::size_t steps = 0;  // since it last acted
  std::size_t compressions = 0;
  std::size_t dropped_rows = 0;  // of all layers and heads
  double compress_ms = 0;
};

struct PrefillOutcome;

struct Sequence::State {
  std::shared_ptr<const Variant> variant;
  KvCache cache;
  Position next_position = 0;
  KvReport report;
  QueryRing queries = {};  // keeps any only where the schedule scores by them while generating
  GeneratedCounts generated = {};
  CacheSummaries summaries = {};  // of `cache`, for decode that reads a part of it
  DecodeReads decode_reads = {};
  PolicyCursors cursors = {};

  // As Sequence::fork().
  [[nodiscard]] State fork() const;
  // Goes on with what a prefill of n_token more tokens made of its i-th variant.
  void take(PrefillOutcome& outcome, std::size_t i, std::size_t n_token);
};

struct Engine::State {
  EngineOptions options;
  ModelInfo info;
  std::unique_ptr<Model> model;
  const KernelTable* kernels = nullptr;
  Threads threads;
  std::shared_ptr<ByteCounter> counter = std::make_shared<ByteCounter>();
  PassBuffers buffers;
  PrefillTimings last_prefill;

  [[nodiscard]] ProductChoice product_choice() const;
  [[nodiscard]] CacheShape cache_shape(const Variant& variant) const;
  [[nodiscard]] std::size_t shareable_tokens(std::size_t tokens) const;
  // A ring without queries yet, for as many as the variant wants to keep. Throws std::bad_alloc.
  [[nodiscard]] QueryRing query_ring(const Variant& variant) const;
  [[nodiscard]] PassProducts products(PassProducts::Phase phase, std::size_t n_token) const;
  [[nodiscard]] Pass pass(PassProducts::Phase phase, std::size_t n_token);
};

// kCorrupt when some logit is no number: damaged weights give NaN, and every choice among them
// would be garbage that looks like an answer.
Result<void> check_logits(View2<const float> logits);

// One prefill: reads tokens through all layers on top of `base` (null: an empty cache) and leaves
// one new cache and report for each variant. Changes nothing but the engine's buffers.
struct PrefillJob {
  std::span<const Token> tokens;
  Position first_position = 0;
  const KvCache* base = nullptr;
  const QueryRing* base_queries = nullptr;      // of the sequence that is continued
  const PolicyCursors* base_cursors = nullptr;  // the same
  std::span<const std::shared_ptr<const Variant>> variants;
  const PrefillOptions* options = nullptr;
};
struct PrefillOutcome {
  std::vector<KvCache> caches;
  std::vector<KvReport> reports;
  std::vector<QueryRing> queries;
  std::vector<PolicyCursors> cursors;
};
Result<PrefillOutcome> run_prefill(Engine::State& engine, const PrefillJob& job,
                                   std::vector<float>& last_logits);

}  // namespace restkv
