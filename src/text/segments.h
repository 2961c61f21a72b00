#pragma once

// Text from two sources, one trusted and one not, as one sequence of tokens: special tokens come
// from the trusted source only.

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "restkv/result.h"
#include "restkv/types.h"
#include "text/vocabulary.h"

namespace restkv {

// A stretch of text from one source.
struct Segment {
  enum class Source : std::uint8_t {
    kTemplate,  // special tokens in it are read as such
    kContent,   // nothing in it is special
  };
  Source source = Source::kTemplate;
  std::string text;
};

// Tokens [begin, end) of a sequence.
struct TokenSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

struct TokenizedSegments {
  std::vector<Token> tokens;
  // One for each segment: the tokens that hold at least one of its bytes. Neighbours share a token
  // when ordinary text of both went into it; an empty segment has an empty span.
  std::vector<TokenSpan> spans;
};

// Special tokens are looked for in the template segments alone and cut the text there. The ordinary
// text between two of them, whichever source it came from, is tokenised in one go with special
// tokens off: so the tokens are the very ones that libllama gives for the whole text whenever no
// content holds the text of a special token, and no space or line feed is split at a border that
// the model never saw.
//
// Content that spells out a control token, or a token of `marks`, is cut inside that spelling where
// the vocabulary would otherwise give the token (SentencePiece merges and user-defined tokens can).
// The one exception is a special token whose text is a single character.
//
// start: what stands before the first segment. Adds no BOS. Errors are tokenize()'s.
Result<TokenizedSegments> tokenize_segments(const Vocabulary& vocabulary,
                                            std::span<const Segment> segments, TextStart start,
                                            const std::set<Token>& marks);

// The special tokens that tokenize_segments() finds in a template segment of this text, in order.
std::vector<Token> special_tokens_in(const Vocabulary& vocabulary, std::string_view text);

}  // namespace restkv
