#pragma once

// Greedy answers of several sequences to one question, written side by side: the weights are read
// once a step for all of them, and each ends by itself.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "restkv/engine.h"
#include "restkv/result.h"
#include "text/vocabulary.h"

namespace restkv {

enum class AnswerEnd : std::uint8_t {
  kEos,      // the model ended it
  kText,     // one of the stop texts came
  kLimit,    // of new tokens
  kContext,  // of positions
};
[[nodiscard]] const char* answer_end_name(AnswerEnd end);

struct AnswerRule {
  std::span<const std::string> stops;   // the answer ends before any of these
  std::optional<Token> end_token = {};  // ends it as the model's own end does
  std::size_t min_new_tokens = 0;       // until then the model cannot end it
  std::size_t max_new_tokens = 0;       // at least 1
  std::size_t context = 0;              // positions
  const std::atomic<bool>* cancel = nullptr;
};

struct Answer {
  std::string text;        // any bytes; without the stop text and what followed it
  std::size_t tokens = 0;  // generated, the one that ended it left out
  AnswerEnd end = AnswerEnd::kEos;
  bool looping = false;  // cut off while it repeated itself; see is_looping()
  double decode_ms = 0;  // from the first step until its own end
};

// prompt_logits: after the last token of the prompt, [sequences, n_vocab], or one row for all. The
// answers are those that each sequence would give alone. kCancelled between steps; the engine's
// errors. REQUIRES: sequences of the engine, distinct, at least one
Result<std::vector<Answer>> decode_answers(Engine& engine, const Vocabulary& vocabulary,
                                           std::span<Sequence> sequences,
                                           View2<const float> prompt_logits,
                                           const AnswerRule& rule);

// Whether the tokens end in the same passage four times over, and that is 16 tokens or more.
[[nodiscard]] bool is_looping(std::span<const Token> tokens);

}  // namespace restkv
