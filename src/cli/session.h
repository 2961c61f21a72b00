#pragma once

// A loaded model with everything that the commands need to talk to it.

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/progress.h"
#include "restkv/engine.h"
#include "restkv/result.h"
#include "text/chat_template.h"
#include "text/sampler.h"
#include "text/vocabulary.h"

namespace restkv {

struct Session {
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const Vocabulary> vocabulary;
  std::size_t context = 0;  // tokens that a sequence may have

  // Brings the model if it is a catalogue name, checks and loads it. Warns on stderr about a
  // context beyond the trained one. The errors are one line each.
  static Result<Session> open(const CommonOptions& options, const std::atomic<bool>& cancel);

  // The tokens of a conversation's first turn: through the chat template, or as they are with
  // --raw. kInvalidArgument when they do not fit into the context; the message has the numbers.
  [[nodiscard]] Result<std::vector<Token>> first_prompt(const PromptOptions& options,
                                                        const std::string& user) const;
  [[nodiscard]] Result<void> check_length(std::size_t tokens) const;
};

// Why an answer ended.
enum class StopReason : std::uint8_t { kEos, kLimit, kContext, kCancelled };
[[nodiscard]] const char* stop_reason_name(StopReason reason);

struct Generation {
  std::string text;
  std::vector<Token> tokens;  // without the one that ended the answer
  StopReason stop = StopReason::kEos;
  std::optional<Token> pending;  // last token of `tokens`, when it is not in the cache yet
  double first_token_ms = 0;     // from the end of the prefill to the first token
  double decode_ms = 0;          // all decode steps
  std::size_t decode_steps = 0;
};

struct GenerationRequest {
  long long n_predict = -1;
  std::size_t context = 0;
  const std::atomic<bool>* cancel = nullptr;
  // Whole characters as they come; may be empty. False ends the answer with kIo.
  std::function<bool(const std::string&)> on_text;
};

// An on_text that prints. False when standard output cannot be written.
bool print_text(const std::string& text);

// Samples from `logits` (after the last token of the sequence) and decodes until the answer ends.
// REQUIRES: the sampler has accepted what the sequence has read, if it is to penalise repeats.
Result<Generation> generate(Engine& engine, const Vocabulary& vocabulary, Sequence& sequence,
                            Sampler& sampler, std::vector<float>& logits,
                            const GenerationRequest& request);

// What tokens are drawn with: what was typed, else what the model's file asks for, else llama.cpp's
// numbers. With ignore_eos the tokens that end an answer are never picked. A seed that was not
// typed is drawn, once, so that several variants draw the same. Says on stderr what the file asks
// for and this cannot do.
SamplerOptions sampler_options(const GenerationOptions& options, const Session& session);

// Reads a text with the full cache and lets it go again: for what prefill.on_layer sees. As
// Engine::prefill().
Result<void> observe_text(Engine& engine, std::span<const Token> text,
                          const PrefillOptions& prefill);

// Prefill options that drive a progress display and look at a flag.
PrefillOptions watched_prefill(Progress* progress, const std::atomic<bool>& cancel,
                               std::size_t n_tokens, const PrefillAttention& attention);

}  // namespace restkv
