// Written along libllama's load of a vocabulary (llama-vocab.cpp of the pinned tree). It is fatal
// there that two tokens have the same text, that a splitter leaves blanks in its words, and - by
// the memory it takes - that tokens are very long or a file without tokens claims billions of them.
// The other checks put a plain message in front of an exception or of a silent guess.

#include "tensor/vocabulary_check.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/quote.h"

namespace restkv {
namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kPre = "tokenizer.ggml.pre";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";

// libllama makes dummy tokens of about 50 bytes each.
constexpr std::int64_t kMostDummyTokens = std::int64_t{1} << 22;
// For a character that is no letter of byte-level BPE libllama writes down the token once more: a
// token can take the square of its length. All tokens of a real vocabulary take a few dozen MiB.
constexpr std::uint64_t kMostSquaredBytes = std::uint64_t{1} << 30;
constexpr std::int64_t kByteToken = 6;  // a token type: "<0x0A>"

struct TypedKey {
  std::string_view key;
  std::string_view type;  // as GgufFile::type_of() names it
};
// What libllama reads by its exact type.
constexpr std::array kTypedKeys = {
    TypedKey{kPre, "string"},
    TypedKey{"tokenizer.ggml.token_type_count", "u32"},
    TypedKey{"tokenizer.ggml.bos_token_id", "u32"},
    TypedKey{"tokenizer.ggml.eos_token_id", "u32"},
    TypedKey{"tokenizer.ggml.eot_token_id", "u32"},
    TypedKey{"tokenizer.ggml.eom_token_id", "u32"},
    TypedKey{"tokenizer.ggml.unknown_token_id", "u32"},
    TypedKey{"tokenizer.ggml.seperator_token_id", "u32"},  // spelt so
    TypedKey{"tokenizer.ggml.padding_token_id", "u32"},
    TypedKey{"tokenizer.ggml.mask_token_id", "u32"},
    TypedKey{"tokenizer.ggml.add_bos_token", "bool"},
    TypedKey{"tokenizer.ggml.add_eos_token", "bool"},
    TypedKey{"tokenizer.ggml.add_sep_token", "bool"},
    TypedKey{"tokenizer.ggml.add_space_prefix", "bool"},
    TypedKey{"tokenizer.ggml.remove_extra_whitespaces", "bool"},
    TypedKey{"tokenizer.ggml.suppress_tokens", "array of i32"},
};

// Where an answer begins and ends. libllama takes a default for one that is outside the
// vocabulary, and for others it does without.
constexpr std::array kBoundaryKeys = {
    std::string_view("tokenizer.ggml.bos_token_id"),
    std::string_view("tokenizer.ggml.eos_token_id"),
    std::string_view("tokenizer.ggml.eot_token_id"),
    std::string_view("tokenizer.ggml.eom_token_id"),
};

// libllama reads strings up to their first NUL.
std::string_view as_c_string(std::string_view text) { return text.substr(0, text.find('\0')); }

class Checker {
 public:
  explicit Checker(const GgufFile& file) : file_(file) {}
  Result<void> run();

 private:
  [[nodiscard]] Error corrupt(std::string_view key, const std::string& what) const {
    return {ErrorCode::kCorrupt, file_.path() + ": key " + quoted(key) + " " + what};
  }
  [[nodiscard]] Error unsupported(std::string_view key, const std::string& what) const {
    return {ErrorCode::kUnsupported, file_.path() + ": key " + quoted(key) + " " + what};
  }
  [[nodiscard]] Error wrong_type(std::string_view key, std::string_view wanted) const {
    return corrupt(key, "must be of type " + std::string(wanted) + ", not " + file_.type_of(key));
  }

  Result<void> check_dummy_tokens() const;
  Result<void> check_splitter(const std::string& model) const;
  Result<void> read_tokens();
  Result<void> check_texts() const;
  Result<void> check_scores() const;
  Result<void> check_types() const;
  Result<void> check_merges() const;
  Result<void> check_boundaries() const;

  const GgufFile& file_;
  // As libllama sees them: cut at a NUL, and with a name for an empty one.
  std::vector<std::string> tokens_;
};

Result<void> Checker::run() {
  if (file_.type_of(kModel).empty()) return {};  // libllama refuses such a file itself
  RESTKV_ASSIGN(const auto model, file_.text(kModel));
  if (*model == "none" || *model == "no_vocab") return check_dummy_tokens();
  const bool byte_pairs = *model == "gpt2" || *model == "gemma4";
  if (!byte_pairs && *model != "llama") {
    return unsupported(
        kModel, "is " + quoted(*model) + ", which is not supported (known: gpt2, llama, gemma4)");
  }
  for (const TypedKey& typed : kTypedKeys) {
    const std::string type = file_.type_of(typed.key);
    if (!type.empty() && type != typed.type) return wrong_type(typed.key, typed.type);
  }
  RESTKV_TRY(check_splitter(*model));
  RESTKV_TRY(read_tokens());
  RESTKV_TRY(check_texts());
  RESTKV_TRY(check_scores());
  RESTKV_TRY(check_types());
  if (byte_pairs) RESTKV_TRY(check_merges());
  return check_boundaries();
}

Result<void> Checker::check_dummy_tokens() const {
  const std::string key = file_.architecture() + ".vocab_size";
  if (file_.type_of(key) != "u32") return {};
  RESTKV_ASSIGN(const auto size, file_.integer(key));
  if (*size <= kMostDummyTokens) return {};
  return corrupt(key, "states " + std::to_string(*size) + " tokens");
}

// Words that still hold blanks fail an assertion of the merging, whatever the text is.
Result<void> Checker::check_splitter(const std::string& model) const {
  RESTKV_ASSIGN(const auto pre, file_.text(kPre));
  if (model == "gpt2" && pre && as_c_string(*pre) == "whitespace") {
    return unsupported(kPre, "is 'whitespace', which is not supported with the tokenizer 'gpt2'");
  }
  return {};
}

Result<void> Checker::read_tokens() {
  const std::string type = file_.type_of(kTokens);
  if (type.empty()) return corrupt(kTokens, "is missing");
  if (!file_.is_string_array(kTokens)) return wrong_type(kTokens, "array of string");
  RESTKV_ASSIGN(const auto texts, file_.strings(kTokens));
  if (texts->empty()) return corrupt(kTokens, "is empty");
  tokens_.reserve(texts->size());
  for (const std::string_view text : *texts) {
    tokens_.emplace_back(as_c_string(text));
    if (tokens_.back().empty()) {
      tokens_.back() = "[EMPTY_" + std::to_string(tokens_.size() - 1) + "]";
    }
  }
  return {};
}

Result<void> Checker::check_texts() const {
  std::unordered_map<std::string_view, std::size_t> first_of_text;
  first_of_text.reserve(tokens_.size());
  std::uint64_t squared_bytes = 0;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto [first, is_new] = first_of_text.emplace(tokens_[i], i);
    if (!is_new) {
      return corrupt(kTokens, "has the text " + quoted(tokens_[i]) + " twice, as tokens " +
                                  std::to_string(first->second) + " and " + std::to_string(i));
    }
    squared_bytes += std::uint64_t{tokens_[i].size()} * tokens_[i].size();  // each below 2^60
    if (squared_bytes > kMostSquaredBytes) {
      return corrupt(kTokens, "has texts that are too long, such as token " + std::to_string(i) +
                                  " of " + std::to_string(tokens_[i].size()) + " bytes");
    }
  }
  return {};
}

Result<void> Checker::check_scores() const {
  const std::string type = file_.type_of(kScores);
  if (type.empty()) return {};
  if (type != "array of f32" && type != "array of i32") return wrong_type(kScores, "array of f32");
  if (*file_.array_size(kScores) < tokens_.size()) {
    return corrupt(kScores, "has " + std::to_string(*file_.array_size(kScores)) + " elements for " +
                                std::to_string(tokens_.size()) + " tokens");
  }
  if (type == "array of i32") return {};
  RESTKV_ASSIGN(const auto scores, file_.numbers(kScores));
  for (std::size_t i = 0; i < scores->size(); ++i) {
    if (std::isnan((*scores)[i])) {
      return corrupt(kScores, "is not a number for token " + std::to_string(i));
    }
  }
  return {};
}

Result<void> Checker::check_types() const {
  const std::string type = file_.type_of(kTypes);
  if (type.empty()) return {};
  if (type != "array of i32") return wrong_type(kTypes, "array of i32");
  RESTKV_ASSIGN(const auto types, file_.integers(kTypes));
  if (types->size() < tokens_.size()) {
    return corrupt(kTypes, "has " + std::to_string(types->size()) + " elements for " +
                               std::to_string(tokens_.size()) + " tokens");
  }
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& text = tokens_[i];
    if ((*types)[i] == kByteToken && (text.size() != 6 || !text.starts_with("<0x"))) {
      return corrupt(
          kTypes, "says that token " + std::to_string(i) + " is a byte, but it is " + quoted(text));
    }
  }
  return {};
}

Result<void> Checker::check_merges() const {
  const std::string type = file_.type_of(kMerges);
  if (type.empty()) {
    RESTKV_ASSIGN(const auto pre, file_.text(kPre));
    if (pre && as_c_string(*pre) == "kimi-k2") return {};  // goes without
    return corrupt(kMerges, "is missing");
  }
  if (!file_.is_string_array(kMerges)) return wrong_type(kMerges, "array of string");
  RESTKV_ASSIGN(const auto merges, file_.strings(kMerges));
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    if (merge.find(' ', 1) == std::string_view::npos) {  // the left part may itself begin with one
      return corrupt(kMerges, "element " + std::to_string(i) + " is not a pair: " + quoted(merge));
    }
  }
  return {};
}

Result<void> Checker::check_boundaries() const {
  for (const std::string_view key : kBoundaryKeys) {
    RESTKV_ASSIGN(const auto id, file_.integer(key));
    if (id && *id >= static_cast<std::int64_t>(tokens_.size())) {
      return corrupt(key, "is " + std::to_string(*id) + ", outside the vocabulary of " +
                              std::to_string(tokens_.size()) + " tokens");
    }
  }
  return {};
}

}  // namespace

Result<void> check_vocabulary_keys(const GgufFile& file) { return Checker(file).run(); }

}  // namespace restkv
