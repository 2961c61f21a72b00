#pragma once

// The model's vocabulary: text <-> tokens. Loaded from the GGUF by libllama, without the weights.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "restkv/result.h"
#include "restkv/types.h"
#include "text/file_sampling.h"

struct llama_model;
struct llama_vocab;

namespace restkv {

// What the text of a special token ("<|im_end|>") in the input means.
enum class SpecialText : std::uint8_t {
  kPlain,  // the letters it consists of; tokens of the kind kUserDefined are still matched
  kParse,  // the token
};
enum class Bos : std::uint8_t { kNever, kAlways, kByModel };
// Some vocabularies (SentencePiece) put a space before a text that begins a new piece.
enum class TextStart : std::uint8_t {
  kFresh,      // at the very beginning, or after a special token
  kContinues,  // after other text: no space is put before it
};
enum class ControlTokens : std::uint8_t { kHide, kShow };

struct TokenizeOptions {
  SpecialText special = SpecialText::kPlain;
  Bos bos = Bos::kNever;
  TextStart start = TextStart::kFresh;
};

// A token that is matched as a whole before text is split into ordinary tokens.
struct SpecialToken {
  enum class Kind : std::uint8_t {
    kControl,      // steers the model: turns, beginning and end
    kUnknown,      // stands for what the vocabulary cannot express
    kUserDefined,  // matched in any text: tags, runs of spaces; marks of a template in some files
  };
  Token id = 0;
  std::string text;
  Kind kind = Kind::kControl;
  // White space beside it in the text is swallowed.
  bool strips_left = false;
  bool strips_right = false;
};

// Immutable; any number of threads may call one object.
class Vocabulary {
 public:
  // kNotFound or kIo when the file cannot be opened, kUnsupported when it holds no vocabulary,
  // kOutOfMemory, kCorrupt with libllama's reason otherwise, or naming a key of general.sampling
  // that is out of range. libllama asserts on some contradictions between the
  // keys of a file: REQUIRES a file whose vocabulary keys were checked before.
  // From the first call on libllama and ggml print nothing in this process.
  static Result<std::shared_ptr<const Vocabulary>> load(const std::string& path);

  // Any bytes; invalid UTF-8 is read as U+FFFD where the vocabulary works on characters. Never adds
  // an end token. kInvalidArgument for a text of 1 GiB or more and, where libllama cuts words by
  // recursion (deep_stack.h), for a line of more than kLongestLine bytes; kOutOfMemory; kCorrupt
  // when a SentencePiece vocabulary lacks a token for some byte (byte-level BPE then leaves it out,
  // as in libllama). Bos::kAlways adds nothing when the model has no such token.
  [[nodiscard]] Result<std::vector<Token>> tokenize(std::string_view text,
                                                    const TokenizeOptions& options = {}) const;

  // The bytes of one token: perhaps not whole characters (utf8_stream.h). Empty for a token outside
  // the vocabulary.
  [[nodiscard]] std::string piece(Token token, ControlTokens control = ControlTokens::kHide) const;
  // Pieces of a whole text in a row, without the space that tokenize() put before it.
  [[nodiscard]] std::string detokenize(std::span<const Token> tokens,
                                       ControlTokens control = ControlTokens::kHide) const;

  [[nodiscard]] std::size_t size() const { return size_; }  // tokens
  [[nodiscard]] bool is_end_of_generation(Token token) const;
  // All of them, ascending: what --ignore-eos forbids.
  [[nodiscard]] const std::vector<Token>& end_of_generation() const { return end_of_generation_; }
  // Tokens that the model's file asks never to be sampled.
  [[nodiscard]] const std::vector<Token>& suppressed() const { return suppressed_; }
  [[nodiscard]] std::optional<Token> bos() const;  // beginning of the sequence
  [[nodiscard]] std::optional<Token> eos() const;  // end of the sequence
  [[nodiscard]] bool adds_bos() const;             // what Bos::kByModel does
  [[nodiscard]] bool adds_space_prefix() const { return adds_space_prefix_; }

  // Longest text first, then by number; empty texts are left out.
  [[nodiscard]] const std::vector<SpecialToken>& special_tokens() const { return special_tokens_; }
  // The entry of a token in special_tokens(); null when it is an ordinary one.
  [[nodiscard]] const SpecialToken* special(Token token) const;
  // The file's chat template (Jinja); empty when it has none.
  [[nodiscard]] const std::string& chat_template() const { return chat_template_; }
  // How the file asks tokens to be drawn.
  [[nodiscard]] const FileSampling& sampling() const { return sampling_; }

 private:
  struct FreeModel {
    void operator()(llama_model* model) const;
  };
  explicit Vocabulary(std::unique_ptr<llama_model, FreeModel> model);
  // The lists and flags that libllama does not keep in this form.
  Result<void> index();
  Result<std::vector<Token>> tokenize_fresh(std::string_view text, SpecialText special) const;

  std::unique_ptr<llama_model, FreeModel> model_;
  const llama_vocab* vocab_ = nullptr;  // owned by model_
  std::size_t size_ = 0;
  bool recurs_ = false;  // libllama's splitter needs room on the stack for every word
  bool adds_space_prefix_ = false;
  std::vector<Token> end_of_generation_;
  std::vector<Token> suppressed_;
  std::vector<SpecialToken> special_tokens_;
  std::unordered_map<Token, std::size_t> special_index_;  // into special_tokens_
  std::string chat_template_;
  FileSampling sampling_;
};

}  // namespace restkv
