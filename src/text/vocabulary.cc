#include "text/vocabulary.h"

#include <llama.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "text/deep_stack.h"
#include "text/model_key.h"

namespace restkv {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;  // libllama counts in int32

// The reason of a failed load: the first error that libllama logs (later lines only say that
// loading failed). Per thread, because the log function is one for the process and loads may run
// side by side.
thread_local std::string first_error;

void keep_first_error(ggml_log_level level, const char* text, void* /*user*/) {
  if (level == GGML_LOG_LEVEL_ERROR && first_error.empty()) first_error = text;
}

void silence_libllama() {
  static std::once_flag once;
  std::call_once(once, [] { llama_log_set(keep_first_error, nullptr); });
}

// "llama_model_load: error loading model: the reason\n" -> "the reason", in one line.
std::string reason(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (const std::size_t colon = text.find(": ");
      colon != std::string::npos && text.find(' ') > colon) {  // the name of a function
    text.erase(0, colon + 2);
  }
  for (const std::string_view lead :
       {"error loading model: ", "error loading model vocabulary: "}) {
    if (text.starts_with(lead)) text.erase(0, lead.size());
  }
  return text.empty() ? "libllama gives no reason" : text;
}

Result<void> check_readable(const std::string& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) {
    return Error{ErrorCode::kNotFound, path + ": no such file"};
  }
  if (std::filesystem::is_directory(status)) {
    return Error{ErrorCode::kIo, path + ": is a directory"};
  }
  errno = 0;
  if (!std::ifstream(path, std::ios::binary)) {
    return Error{ErrorCode::kIo, path + ": " + std::strerror(errno != 0 ? errno : EIO)};
  }
  return {};
}

std::optional<Token> token_or_none(llama_token token) {
  return token == LLAMA_TOKEN_NULL ? std::nullopt : std::optional<Token>(token);
}

std::optional<SpecialToken::Kind> special_kind(unsigned attributes) {
  if ((attributes & LLAMA_TOKEN_ATTR_CONTROL) != 0) return SpecialToken::Kind::kControl;
  if ((attributes & LLAMA_TOKEN_ATTR_UNKNOWN) != 0) return SpecialToken::Kind::kUnknown;
  if ((attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0) return SpecialToken::Kind::kUserDefined;
  return std::nullopt;
}

}  // namespace

Result<std::shared_ptr<const Vocabulary>> Vocabulary::load(const std::string& path) {
  RESTKV_TRY(check_readable(path));
  silence_libllama();
  first_error.clear();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  std::unique_ptr<llama_model, FreeModel> model;
  try {
    model.reset(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory, path + ": no memory for the vocabulary"};
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kCorrupt, path + ": vocabulary: " + reason(failure.what())};
  }
  if (model == nullptr && first_error.find("std::bad_alloc") != std::string::npos) {
    return Error{ErrorCode::kOutOfMemory, path + ": no memory for the vocabulary"};
  }
  if (model == nullptr) {
    return Error{ErrorCode::kCorrupt, path + ": vocabulary: " + reason(first_error)};
  }
  if (llama_vocab_type(llama_model_get_vocab(model.get())) == LLAMA_VOCAB_TYPE_NONE) {
    return Error{ErrorCode::kUnsupported, path + ": the file holds no vocabulary"};
  }
  std::shared_ptr<Vocabulary> vocabulary(new Vocabulary(std::move(model)));
  if (const Result<void> indexed = vocabulary->index(); !indexed.ok()) {
    return Error{indexed.error().code, path + ": " + indexed.error().message};
  }
  return std::shared_ptr<const Vocabulary>(std::move(vocabulary));
}

void Vocabulary::FreeModel::operator()(llama_model* model) const { llama_model_free(model); }

Vocabulary::Vocabulary(std::unique_ptr<llama_model, FreeModel> model)
    : model_(std::move(model)),
      vocab_(llama_model_get_vocab(model_.get())),
      size_(static_cast<std::size_t>(llama_vocab_n_tokens(vocab_))) {}

Result<void> Vocabulary::index() {
  const std::string pre = model_key(*model_, "tokenizer.ggml.pre");
  recurs_ = llama_vocab_type(vocab_) == LLAMA_VOCAB_TYPE_BPE && !splits_without_recursion(pre);
  if (const char* text = llama_model_chat_template(model_.get(), nullptr)) chat_template_ = text;
  for (Token id = 0; id < static_cast<Token>(size_); ++id) {
    if (llama_vocab_is_eog(vocab_, id)) end_of_generation_.push_back(id);
    const auto attributes = static_cast<unsigned>(llama_vocab_get_attr(vocab_, id));
    const auto kind = special_kind(attributes);
    std::string text = kind ? llama_vocab_get_text(vocab_, id) : "";
    if (text.empty()) continue;
    special_tokens_.push_back({.id = id,
                               .text = std::move(text),
                               .kind = *kind,
                               .strips_left = (attributes & LLAMA_TOKEN_ATTR_LSTRIP) != 0,
                               .strips_right = (attributes & LLAMA_TOKEN_ATTR_RSTRIP) != 0});
  }
  std::sort(special_tokens_.begin(), special_tokens_.end(),
            [](const SpecialToken& a, const SpecialToken& b) {
              return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.id < b.id;
            });
  for (std::size_t i = 0; i < special_tokens_.size(); ++i) {
    special_index_.emplace(special_tokens_[i].id, i);
  }
  std::int32_t n_suppressed = 0;
  const llama_token* suppressed = llama_vocab_get_suppress_tokens(vocab_, &n_suppressed);
  for (std::int32_t i = 0; i < n_suppressed; ++i) {
    if (suppressed[i] >= 0 && static_cast<std::size_t>(suppressed[i]) < size_) {
      suppressed_.push_back(suppressed[i]);
    }
  }
  RESTKV_ASSIGN(sampling_, read_file_sampling(*model_));
  RESTKV_ASSIGN(const std::vector<Token> probe, tokenize_fresh("a", SpecialText::kPlain));
  adds_space_prefix_ = !probe.empty() && piece(probe.front()).starts_with(' ');
  return {};
}

Result<std::vector<Token>> Vocabulary::tokenize(std::string_view text,
                                                const TokenizeOptions& options) const {
  std::vector<Token> tokens;
  const bool wants_bos =
      options.bos == Bos::kAlways || (options.bos == Bos::kByModel && adds_bos());
  if (const auto token = bos(); wants_bos && token) tokens.push_back(*token);
  if (text.empty()) return tokens;

  const bool drop_prefix = options.start == TextStart::kContinues && adds_space_prefix_;
  // libllama cannot be told to leave the space out, so the text is tokenised behind a line feed,
  // which no ordinary token of such a vocabulary holds together with other text.
  const std::string_view guard = "\n";
  const std::string guarded = drop_prefix ? std::string(guard).append(text) : std::string();
  RESTKV_ASSIGN(std::vector<Token> body,
                tokenize_fresh(drop_prefix ? std::string_view(guarded) : text, options.special));
  if (drop_prefix) {
    RESTKV_ASSIGN(const std::vector<Token> front, tokenize_fresh(guard, SpecialText::kPlain));
    if (body.size() >= front.size() && std::equal(front.begin(), front.end(), body.begin())) {
      body.erase(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(front.size()));
    } else {  // an unusual vocabulary after all: rather a space too many than a line feed
      RESTKV_ASSIGN(body, tokenize_fresh(text, options.special));
    }
  }
  tokens.insert(tokens.end(), body.begin(), body.end());
  return tokens;
}

Result<std::vector<Token>> Vocabulary::tokenize_fresh(std::string_view text,
                                                      SpecialText special) const {
  if (text.size() >= kMaxTextBytes) {
    return Error{ErrorCode::kInvalidArgument, "text to tokenise: 1 GiB or more"};
  }
  const bool parse = special == SpecialText::kParse;
  std::vector<Token> tokens;
  std::size_t most = text.size() + 2;  // hardly ever more tokens than bytes
  for (;;) {
    std::int32_t n = 0;
    std::optional<Error> failure;
    const auto tokenize = [&] {
      try {
        tokens.resize(most);
        n = llama_tokenize(vocab_, text.data(), static_cast<std::int32_t>(text.size()),
                           tokens.data(), static_cast<std::int32_t>(tokens.size()),
                           /*add_special=*/false, parse);
      } catch (const std::bad_alloc&) {
        failure = {.code = ErrorCode::kOutOfMemory, .message = "text to tokenise: no memory"};
      } catch (const std::exception& thrown) {
        failure = {.code = ErrorCode::kCorrupt,
                   .message = std::string("vocabulary: cannot express the text: ") + thrown.what()};
      }
    };
    const Result<void> called = call_with_stack(recurs_ ? longest_stretch(text) : 0, tokenize);
    if (!called.ok()) {
      return Error{called.error().code, "text to tokenise: " + called.error().message};
    }
    if (failure) return *std::move(failure);
    if (n >= 0) {
      tokens.resize(static_cast<std::size_t>(n));
      return tokens;
    }
    const auto needed = static_cast<std::size_t>(-static_cast<std::int64_t>(n));
    if (needed <= most || needed > 2 * kMaxTextBytes - 1) {
      return Error{ErrorCode::kInvalidArgument, "text to tokenise: too many tokens"};
    }
    most = needed;
  }
}

std::string Vocabulary::piece(Token token, ControlTokens control) const {
  if (token < 0 || static_cast<std::size_t>(token) >= size_) return {};
  const bool show = control == ControlTokens::kShow;
  std::string text(32, '\0');
  for (;;) {
    const std::int32_t n =
        llama_token_to_piece(vocab_, token, text.data(), static_cast<std::int32_t>(text.size()),
                             /*lstrip=*/0, show);
    text.resize(static_cast<std::size_t>(n < 0 ? -n : n));
    if (n >= 0) return text;
  }
}

std::string Vocabulary::detokenize(std::span<const Token> tokens, ControlTokens control) const {
  std::string text;
  bool fresh = true;  // the next ordinary token stands at the beginning or after a special one
  for (const Token token : tokens) {
    std::string bytes = piece(token, control);
    const bool ordinary = special(token) == nullptr;
    if (ordinary && fresh && adds_space_prefix_ && bytes.starts_with(' ')) bytes.erase(0, 1);
    fresh = !ordinary;
    text += bytes;
  }
  return text;
}

const SpecialToken* Vocabulary::special(Token token) const {
  const auto found = special_index_.find(token);
  return found == special_index_.end() ? nullptr : &special_tokens_[found->second];
}

bool Vocabulary::is_end_of_generation(Token token) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), token);
}

std::optional<Token> Vocabulary::bos() const { return token_or_none(llama_vocab_bos(vocab_)); }
std::optional<Token> Vocabulary::eos() const { return token_or_none(llama_vocab_eos(vocab_)); }

bool Vocabulary::adds_bos() const { return llama_vocab_get_add_bos(vocab_) && bos().has_value(); }

}  // namespace restkv
