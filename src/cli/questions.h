#pragma once

// What `restkv run` reads before it drops rows, and what after: --kv-mode.

#include <cstdint>
#include <string_view>
#include <vector>

#include "cli/session.h"

namespace restkv {

enum class QueryMode : std::uint8_t {
  kAware,     // text and question are read together, then rows are dropped: the method sees what is
              // asked
  kAgnostic,  // rows of the text are dropped before any question is read
};
// "aware", "agnostic".
[[nodiscard]] std::string_view query_mode_name(QueryMode mode);
// kInvalidArgument lists the names.
Result<QueryMode> parse_query_mode(std::string_view name);

// A prompt in two parts. Text and a question's rest are, one behind the other, the very tokens that
// kAware reads.
struct PromptParts {
  std::vector<Token> text;
  std::vector<std::vector<Token>> questions;  // what comes after the text; empty for kAware
};

// The parts of the prompt of `options` about a document, whose questions are asked one by one. For
// kAgnostic the text ends where the prompts of all questions, and that of the text alone, still
// agree: the last characters of the text may be left to the question where they form one token with
// what follows. kInvalidArgument when the context cannot hold it, or when nothing is left before
// the question. REQUIRES: a document and at least one question for kAgnostic; at most one question
// for kAware.
Result<PromptParts> prompt_parts(const Session& session, const PromptOptions& options,
                                 const std::string& document, QueryMode mode);

}  // namespace restkv
