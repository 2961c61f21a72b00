#pragma once

// The engine: reads long prompts layer by layer, keeps what each sequence's method chooses, and
// decodes any number of sequences as one batch.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/kv_options.h"
#include "restkv/model_info.h"
#include "restkv/policy.h"
#include "restkv/prefill_attention.h"
#include "restkv/report.h"
#include "restkv/result.h"
#include "restkv/types.h"
#include "restkv/views.h"

namespace restkv {

// Which products the engine uses. kAuto is a fixed function of the weights' order and the prompt's
// length; kF32 expands weights to f32 everywhere (slow in decode, exact to rounding).
enum class ProductMode : std::uint8_t { kAuto, kQuantised, kF32 };

enum class WeightAccess : std::uint8_t { kMap, kRead };  // mmap, or read into memory

enum class WeightOrder : std::uint8_t { kPack, kKeep };

struct EngineOptions {
  std::string model_path;
  int n_threads = 0;        // < 1: one per usable processor; at most 1024
  std::string kernels;      // a kernel table's name; empty = RESTKV_KERNELS or the best
  std::size_t chunk = 512;  // prompt tokens that pass through a layer at a time
  // What a prompt's tokens carry from layer to layer: kF32, or kBf16 for half the memory and one
  // rounding a layer.
  KvType hidden_type = KvType::kF32;
  WeightAccess weights = WeightAccess::kMap;
  ProductMode products = ProductMode::kAuto;
  // kPack copies the weights into an order that both prefill and decode multiply much faster, at
  // the price of a longer start; kKeep multiplies them where they are. For ProductMode::kAuto.
  WeightOrder order = WeightOrder::kPack;
  // While a prompt of at least so many tokens passes through one layer, the packed weights of the
  // others are let go of; they are packed anew when their turn comes, which takes less than a
  // second for each half GiB, and changes no bit. Until then the file must stay as it is.
  std::size_t weights_go_from = 32768;
  RopeOverrides rope;
};

// One conversation's state: its cache, its next position, its method. Move only; belongs to the
// engine that made it, which must outlive it. Not thread-safe.
class Sequence {
 public:
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;
  ~Sequence();

  // Position that the next token will get = tokens seen so far.
  [[nodiscard]] Position next_position() const;
  [[nodiscard]] const KvOptions& options() const;
  // The report of the last prefill, with end_tokens_max as of now.
  [[nodiscard]] KvReport report() const;
  [[nodiscard]] KeptPositions kept_positions() const;
  // Bytes that the cache refers to now.
  [[nodiscard]] std::size_t bytes() const;
  // Rows that it holds now, of all layers and KV heads together.
  [[nodiscard]] std::size_t rows() const;
  // A second conversation that goes on from here; rows are shared until one of them writes.
  [[nodiscard]] Sequence fork() const;

  struct State;

 private:
  friend class Engine;
  explicit Sequence(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class SharedPrefix;  // restkv/shared_prefix.h

struct PrefillProgress {
  std::size_t tokens_done = 0;  // mapped from layers x chunks so that it moves evenly
  std::size_t tokens_total = 0;
};

struct PrefillOptions {
  // Called between chunks; may be empty.
  std::function<void(const PrefillProgress&)> on_progress;
  // Looked at between chunks; true ends the prefill with kCancelled. May be null.
  const std::atomic<bool>* cancel = nullptr;
  // When set, called for logits of positions [first, first + logits.rows) in order, from
  // `logits_from` (counted from the start of this prefill) to the end. May be empty.
  std::function<void(std::size_t first, View2<const float> logits)> on_logits;
  std::size_t logits_from = 0;
  // When set, called for every layer, in order, when its rows are complete and nothing has been
  // dropped: what a policy would see, with the newest `observed_queries` queries at the least (more
  // where a variant's window is larger). Not called by a prefill in pieces. May be empty.
  std::function<void(const LayerObservation&)> on_layer;
  std::size_t observed_queries = 0;
  // What of the attention is computed. A wrong name or option is kInvalidArgument.
  PrefillAttention attention = {};
  // Of Engine::prefill(): what this prompt and others begin with. kInvalidArgument when the prompt
  // does not. Not used, which changes no bit and is said by PrefillTimings, with a pattern, a
  // prefill in pieces, on_logits or on_layer, or when a window reaches into it. May be null.
  SharedPrefix* prefix = nullptr;
};

struct PrefillTimings {
  double total_ms = 0;
  double compress_ms = 0;         // of all variants: what they share counts once
  std::size_t prefix_tokens = 0;  // of a SharedPrefix: not read again
  double prefix_ms = 0;           // what reading them took when it was done
};

// Not thread-safe: one call at a time, on the engine and on all of its sequences, which share its
// buffers. Inside a call it works with threads() threads.
class Engine {
 public:
  // kNotFound, kCorrupt, kUnsupported, kInvalidArgument (unknown kernels), kOutOfMemory. The
  // message is one line that names the file and what is wrong with it.
  static Result<std::unique_ptr<Engine>> load(const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const ModelInfo& model() const;
  [[nodiscard]] int threads() const;
  [[nodiscard]] std::string_view kernels() const;  // name of the table in use
  // How a prefill of so many tokens, and how decode, multiplies with the weights: "packed",
  // "quantised", "expanded" (to f32, once for a chunk) or "exact" (f32, once for each product);
  // "packed+quantised" where not all weights have one type.
  [[nodiscard]] std::string prefill_products(std::size_t n_token) const;
  [[nodiscard]] std::string decode_products() const;
  // Bytes that all caches of this engine hold now, and held at the most since the last reset.
  [[nodiscard]] std::size_t cache_bytes() const;
  [[nodiscard]] std::size_t cache_bytes_peak() const;
  void reset_cache_peak();

  // Reads the prompt once and makes one sequence for each variant, each with its own cache. The
  // prompt does not depend on the variants, so the sequences are the same as if each had been read
  // alone. last_logits: resized to n_vocab, logits after the last token; the same for all variants.
  // A variant whose schedule is chunk:N must be alone: what it drops changes what it reads.
  // kInvalidArgument: no tokens or variants, a token outside the vocabulary, a wrong variant, or
  // f32 caches mixed with others; kCancelled; kOutOfMemory; kCorrupt when the model computes values
  // that are no numbers. After a failure nothing has changed.
  Result<std::vector<Sequence>> prefill(std::span<const Token> tokens,
                                        std::span<const KvOptions> variants,
                                        const PrefillOptions& options,
                                        std::vector<float>& last_logits);

  // The most of `tokens` leading tokens that prompts may share without a bit of any result
  // changing: whole blocks of queries, and whole chunks where a product's bits depend on the chunk.
  // 0 when that is not worth it, and where a short prompt would be multiplied otherwise.
  [[nodiscard]] std::size_t shareable_tokens(std::size_t tokens) const;

  // For measurements of speed and of nothing else: a sequence of n_token positions that nobody has
  // read. Every cache row is made up (standard normal, the same for the same seed), and every
  // score, so that the policy's budget and the allocator's counts hold as after a prefill. n_token
  // may be 0: a cache without rows. kInvalidArgument as for prefill(); kOutOfMemory.
  [[nodiscard]] Result<Sequence> synthetic_sequence(std::size_t n_token, const KvOptions& variant);

  // Goes on with a sequence: the tokens are read on top of what it holds, then its method is
  // applied to everything held. Errors as of prefill(). After a failure the sequence is as it was.
  Result<void> extend(Sequence& sequence, std::span<const Token> tokens,
                      const PrefillOptions& options, std::vector<float>& last_logits);

  // One step for each sequence: tokens[i] is appended to sequences[i]. logits: [n, n_vocab]. A
  // row's result does not depend on the other sequences. After a failure every sequence goes on as
  // if the step had not been asked for, to the same bits; rows that no later step sees, because
  // they have left a sliding window, may be gone, and room for a row more may be there.
  // A new token sees all rows held and itself; then rows go as the sequence's schedule says.
  // kInvalidArgument: no sequence, or a token outside the vocabulary; kOutOfMemory; kCorrupt as of
  // prefill(). REQUIRES: the sequences are distinct and of this engine; tokens.size() and
  // logits.rows are their number, logits.cols is n_vocab.
  Result<void> decode(std::span<Sequence* const> sequences, std::span<const Token> tokens,
                      View2<float> logits);

  // What has been decoded since the last prefill becomes part of the prompt: report() then speaks
  // of the cache as it is now, and counts decode's steps from here. Changes no row. REQUIRES: a
  // sequence of this engine
  void end_prompt_here(Sequence& sequence) const;

  // Timings of the last prefill() or extend().
  [[nodiscard]] const PrefillTimings& last_prefill() const;

  struct State;

 private:
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace restkv
