#include "text/segments.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "text/spaces.h"

namespace restkv {
namespace {

// Bytes of the UTF-8 character that a valid text begins with.
std::size_t first_character(std::string_view text) {
  std::size_t n = 1;
  while (n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) ++n;
  return n;
}

// A special token, or ordinary text before or after one.
struct Part {
  const SpecialToken* special = nullptr;
  std::string_view text;
};

// Cuts every ordinary part at the occurrences of one special token.
std::vector<Part> cut_at(const std::vector<Part>& parts, const SpecialToken& special) {
  std::vector<Part> result;
  for (const Part& part : parts) {
    if (part.special != nullptr) {
      result.push_back(part);
      continue;
    }
    std::string_view rest = part.text;
    for (std::size_t at = rest.find(special.text); at != std::string_view::npos;
         at = rest.find(special.text)) {
      std::string_view left = rest.substr(0, at);
      while (special.strips_left && !left.empty() && is_space(left.back())) left.remove_suffix(1);
      if (!left.empty()) result.push_back({nullptr, left});
      result.push_back({&special, {}});
      rest.remove_prefix(at + special.text.size());
      while (special.strips_right && !rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    }
    if (!rest.empty()) result.push_back({nullptr, rest});
  }
  return result;
}

// The longest special token wins, wherever it stands: libllama's rule.
std::vector<Part> split_template(const Vocabulary& vocabulary, std::string_view text) {
  std::vector<Part> parts;
  if (!text.empty()) parts.push_back({nullptr, text});
  for (const SpecialToken& special : vocabulary.special_tokens()) {
    // User-defined runs of white space are ordinary text, and may grow together with a content's.
    if (is_blank(special.text) || text.find(special.text) == std::string_view::npos) continue;
    parts = cut_at(parts, special);
  }
  return parts;
}

// Ordinary text between two special tokens.
struct Run {
  struct Stretch {
    std::size_t segment = 0;
    std::size_t begin = 0;  // bytes of `text`
    std::size_t end = 0;
  };
  std::string text;
  std::vector<Stretch> stretches;

  void append(std::size_t segment, std::string_view bytes) {
    stretches.push_back({segment, text.size(), text.size() + bytes.size()});
    text.append(bytes);
  }
};

// The run as SentencePiece vocabularies give it back: their own sign for a space, U+2581, is a
// space.
Run with_spaces(const Run& run) {
  constexpr std::string_view kSign = "\xE2\x96\x81";
  Run result;
  for (const Run::Stretch& stretch : run.stretches) {
    std::string_view rest = run.text;
    rest = rest.substr(stretch.begin, stretch.end - stretch.begin);
    std::string bytes;
    while (!rest.empty()) {
      const bool sign = rest.starts_with(kSign);
      bytes += sign ? ' ' : rest.front();
      rest.remove_prefix(sign ? kSign.size() : 1);
    }
    result.append(stretch.segment, bytes);
  }
  return result;
}

class Tokenizer {
 public:
  Tokenizer(const Vocabulary& vocabulary, std::size_t n_segments, TextStart start,
            const std::set<Token>& marks)
      : vocabulary_(vocabulary), marks_(marks), start_(start) {
    result_.spans.resize(n_segments);
  }

  Result<void> add(std::size_t index, const Segment& segment) {
    if (segment.source == Segment::Source::kContent) {
      if (!segment.text.empty()) run_.append(index, segment.text);
      return {};
    }
    for (const Part& part : split_template(vocabulary_, segment.text)) {
      if (part.special == nullptr) {
        run_.append(index, part.text);
        continue;
      }
      RESTKV_TRY(close_run());
      result_.tokens.push_back(part.special->id);
      extend(index, result_.tokens.size() - 1, result_.tokens.size());
      start_ = TextStart::kFresh;
    }
    return {};
  }

  Result<TokenizedSegments> finish() {
    RESTKV_TRY(close_run());
    return std::move(result_);
  }

 private:
  Result<void> close_run() {
    if (run_.text.empty()) return {};
    const Run run = std::exchange(run_, {});
    const std::size_t first = result_.tokens.size();
    RESTKV_TRY(append_plain(run.text, start_));
    mark_spans(run, first);
    return {};
  }

  // Appends the tokens of a text in which nothing is special.
  Result<void> append_plain(std::string_view text, TextStart start) {
    RESTKV_ASSIGN(const std::vector<Token> tokens, vocabulary_.tokenize(text, {.start = start}));
    const std::vector<std::size_t> cuts = cuts_inside_spellings(text, tokens);
    if (cuts.empty()) {
      result_.tokens.insert(result_.tokens.end(), tokens.begin(), tokens.end());
      return {};
    }
    std::size_t begin = 0;
    for (const std::size_t cut : cuts) {
      RESTKV_TRY(append_plain(text.substr(begin, cut - begin), start));
      start = TextStart::kContinues;
      begin = cut;
    }
    return append_plain(text.substr(begin), start);
  }

  // Where to cut the text so that it no longer spells out a forbidden token that `tokens` holds, in
  // ascending order. Every cut shortens, so the recursion above ends; each level is rid of the
  // spellings of the level before.
  std::vector<std::size_t> cuts_inside_spellings(std::string_view text,
                                                 std::span<const Token> tokens) const {
    std::set<const SpecialToken*> found;
    for (const Token token : tokens) {
      const SpecialToken* special = vocabulary_.special(token);
      if (special != nullptr && is_forbidden(*special)) found.insert(special);
    }
    std::set<std::size_t> cuts;
    for (const SpecialToken* special : found) {
      const std::size_t inside = first_character(special->text);
      if (inside == special->text.size()) continue;
      for (std::size_t at = text.find(special->text); at != std::string_view::npos;
           at = text.find(special->text, at + 1)) {
        cuts.insert(at + inside);
      }
    }
    return {cuts.begin(), cuts.end()};
  }

  bool is_forbidden(const SpecialToken& special) const {
    return special.kind != SpecialToken::Kind::kUserDefined || marks_.contains(special.id);
  }

  // Finds the tokens of each stretch by the bytes that they stand for. A vocabulary that normalises
  // its text gives other bytes; each stretch then gets the whole run.
  void mark_spans(const Run& run, std::size_t first) {
    const std::size_t last = result_.tokens.size();
    std::vector<std::size_t> ends;  // [tokens of the run] bytes up to the token's end
    std::string text;
    for (std::size_t i = first; i < last; ++i) {
      text += vocabulary_.piece(result_.tokens[i], ControlTokens::kShow);
      ends.push_back(text.size());
    }
    if (mark_exact_spans(run, text, ends, first)) return;
    if (mark_exact_spans(with_spaces(run), text, ends, first)) return;
    for (const Run::Stretch& stretch : run.stretches) extend(stretch.segment, first, last);
  }

  // False, and nothing done, when the run's bytes are not those of its tokens' text.
  bool mark_exact_spans(const Run& run, std::string_view text, std::span<const std::size_t> ends,
                        std::size_t first) {
    const std::size_t prefix = text.size() - std::min(text.size(), run.text.size());
    if (prefix > 1 || text.substr(prefix) != run.text) return false;
    for (const Run::Stretch& stretch : run.stretches) {
      const auto begin = std::upper_bound(ends.begin(), ends.end(), stretch.begin + prefix);
      const auto end = std::lower_bound(ends.begin(), ends.end(), stretch.end + prefix);
      extend(stretch.segment, first + static_cast<std::size_t>(begin - ends.begin()),
             first + static_cast<std::size_t>(end - ends.begin()) + 1);
    }
    return true;
  }

  void extend(std::size_t segment, std::size_t begin, std::size_t end) {
    TokenSpan& span = result_.spans[segment];
    span = span.begin == span.end ? TokenSpan{begin, end} : TokenSpan{span.begin, end};
  }

  const Vocabulary& vocabulary_;
  const std::set<Token>& marks_;
  TextStart start_;  // of the run: what the first segment follows, then always a special token
  Run run_;
  TokenizedSegments result_;
};

}  // namespace

Result<TokenizedSegments> tokenize_segments(const Vocabulary& vocabulary,
                                            std::span<const Segment> segments, TextStart start,
                                            const std::set<Token>& marks) {
  Tokenizer tokenizer(vocabulary, segments.size(), start, marks);
  for (std::size_t i = 0; i < segments.size(); ++i) RESTKV_TRY(tokenizer.add(i, segments[i]));
  return tokenizer.finish();
}

std::vector<Token> special_tokens_in(const Vocabulary& vocabulary, std::string_view text) {
  std::vector<Token> tokens;
  for (const Part& part : split_template(vocabulary, text)) {
    if (part.special != nullptr) tokens.push_back(part.special->id);
  }
  return tokens;
}

}  // namespace restkv
