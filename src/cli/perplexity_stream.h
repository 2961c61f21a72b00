#pragma once

// Perplexity of a text that is fed token by token, as a generated one would come: every token is
// predicted from what the cache still holds of those before it, and rows go as the schedule says.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "restkv/kv_options.h"
#include "restkv/result.h"

namespace restkv {

// Tokens [begin, end) of a text, counted from 0, whose perplexity is told by itself.
struct Stretch {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool operator==(const Stretch&) const = default;
};

// Which stretches: all of one length one after another, the last one perhaps shorter, or those
// named.
struct StretchRule {
  std::size_t length = 0;  // 0: none of this kind
  std::vector<Stretch> named;

  // "5000", or "5000-15000,40000-50000". kInvalidArgument for anything else, and for a stretch
  // without a token that is predicted (the first token of a text is not).
  static Result<StretchRule> parse(std::string_view text);
  // The stretches of a text. kInvalidArgument when a named one goes beyond it.
  [[nodiscard]] Result<std::vector<Stretch>> of(std::size_t tokens) const;
  [[nodiscard]] bool empty() const { return length == 0 && named.empty(); }
};

// Feeds the text to all variants as one batch, and prints the perplexity of every stretch, with its
// distance to the variant's first one, and of the whole text. kCancelled; the engine's errors.
// REQUIRES: at least 2 tokens and 1 variant
Result<void> measure_stream(Session& session, std::span<const Token> tokens,
                            std::span<const KvOptions> variants, const StretchRule& rule,
                            const InterruptGuard& interrupt);

}  // namespace restkv
