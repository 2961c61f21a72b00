#include "cli/session.h"

#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <utility>

#include "base/clock.h"
#include "cli/pull.h"
#include "text/utf8_stream.h"

namespace restkv {

Result<Session> Session::open(const CommonOptions& options, const std::atomic<bool>& cancel) {
  const auto progress = make_progress(stderr);
  PullOptions pull;
  pull.progress = progress.get();
  pull.cancel = &cancel;
  const std::string_view wanted = options.model.empty() ? kDefaultModel : options.model;
  Session session;
  EngineOptions engine = options.engine;
  RESTKV_ASSIGN(engine.model_path, resolve_model(wanted, pull));
  RESTKV_ASSIGN(session.engine, Engine::load(engine));
  RESTKV_ASSIGN(session.vocabulary, Vocabulary::load(engine.model_path));

  const ModelInfo& model = session.engine->model();
  const auto trained = static_cast<long long>(model.n_ctx_train);
  session.context = static_cast<std::size_t>(options.context > 0 ? options.context : trained);
  if (options.context == 0 && options.engine.rope.extends_context()) {
    session.context =
        static_cast<std::size_t>(static_cast<double>(trained) / *options.engine.rope.freq_scale);
  }
  if (static_cast<long long>(session.context) > trained) {
    std::fprintf(
        stderr,
        "restkv: warning: the context of %zu tokens goes beyond the %lld that the model was "
        "trained for\n",
        session.context, trained);
  }
  return session;
}

Result<void> Session::check_length(std::size_t tokens) const {
  if (tokens < context) return {};
  const int trained = engine->model().n_ctx_train;
  std::string message = "the prompt has " + std::to_string(tokens) + " tokens and the context " +
                        std::to_string(context) + "; a longer one needs -c";
  if (tokens >= static_cast<std::size_t>(trained)) {
    message += " (and perhaps --rope-scaling), beyond the " + std::to_string(trained) +
               " that the model was trained for";
  }
  return Error{ErrorCode::kInvalidArgument, std::move(message)};
}

Result<std::vector<Token>> Session::first_prompt(const PromptOptions& options,
                                                 const std::string& user) const {
  std::vector<Token> tokens;
  if (options.raw) {
    RESTKV_ASSIGN(
        tokens, vocabulary->tokenize(user, {.special = SpecialText::kParse, .bos = Bos::kByModel}));
  } else {
    RESTKV_ASSIGN(const ChatTemplate chat, ChatTemplate::make(vocabulary, options.chat_template));
    std::vector<Message> messages;
    if (!options.system_prompt.empty()) {
      messages.push_back({.role = Role::kSystem, .content = options.system_prompt});
    }
    messages.push_back({.role = Role::kUser, .content = user});
    RESTKV_ASSIGN(Prompt prompt, chat.render(messages));
    tokens = std::move(prompt.tokens);
  }
  RESTKV_TRY(check_length(tokens.size()));
  return tokens;
}

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEos: return "eos";
    case StopReason::kLimit: return "limit";
    case StopReason::kContext: return "context";
    case StopReason::kCancelled: return "cancelled";
  }
  return "?";
}

bool print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

Result<Generation> generate(Engine& engine, const Vocabulary& vocabulary, Sequence& sequence,
                            Sampler& sampler, std::vector<float>& logits,
                            const GenerationRequest& request) {
  const Clock::time_point start = Clock::now();
  Generation result;
  Utf8Stream characters;
  const auto emit = [&](const std::string& text) -> Result<void> {
    result.text += text;
    if (!request.on_text || text.empty() || request.on_text(text)) return {};
    return Error{ErrorCode::kIo, "standard output cannot be written"};
  };
  const auto cancelled = [&] { return request.cancel != nullptr && request.cancel->load(); };
  while (true) {
    if (cancelled()) {
      result.stop = StopReason::kCancelled;
      break;
    }
    if (request.n_predict >= 0 &&
        result.tokens.size() >= static_cast<std::size_t>(request.n_predict)) {
      result.stop = StopReason::kLimit;
      break;
    }
    const Token token = sampler.sample(logits);
    sampler.accept(token);
    if (result.decode_steps == 0) result.first_token_ms = ms_since(start);
    if (vocabulary.is_end_of_generation(token)) {
      result.stop = StopReason::kEos;
      break;
    }
    result.tokens.push_back(token);
    RESTKV_TRY(emit(characters.push(vocabulary.piece(token))));
    result.pending = token;
    if (request.n_predict >= 0 &&
        result.tokens.size() >= static_cast<std::size_t>(request.n_predict)) {
      result.stop = StopReason::kLimit;
      break;
    }
    if (static_cast<std::size_t>(sequence.next_position()) + 1 >= request.context) {
      result.stop = StopReason::kContext;
      break;
    }
    const Clock::time_point step = Clock::now();
    Sequence* const one = &sequence;
    RESTKV_TRY(engine.decode({&one, 1}, {&token, 1}, {logits.data(), 1, logits.size()}));
    result.pending.reset();
    result.decode_ms += ms_since(step);
    ++result.decode_steps;
  }
  RESTKV_TRY(emit(characters.flush()));
  return result;
}

SamplerOptions sampler_options(const GenerationOptions& options, const Session& session) {
  const Vocabulary& vocabulary = *session.vocabulary;
  SamplerOptions sampler =
      with_wishes(with_wishes({}, vocabulary.sampling().wishes), options.sampling);
  // Beyond the context there is nothing to look back on, and libllama takes room for all of it.
  sampler.repeat_last_n =
      static_cast<int>(std::min(static_cast<std::size_t>(sampler.repeat_last_n), session.context));
  // Not the largest number: as -s it asks for another seed each time.
  sampler.seed = options.seed ? *options.seed
                              : std::random_device{}() % std::numeric_limits<std::uint32_t>::max();
  sampler.forbidden = vocabulary.suppressed();
  if (options.ignore_eos) {
    const std::vector<Token>& ends = vocabulary.end_of_generation();
    sampler.forbidden.insert(sampler.forbidden.end(), ends.begin(), ends.end());
  }
  for (const std::string& key : vocabulary.sampling().not_done) {
    if (is_greedy(sampler)) break;
    std::fprintf(stderr, "restkv: warning: the model's file asks for %s, which is not done\n",
                 key.c_str());
  }
  return sampler;
}

Result<void> observe_text(Engine& engine, std::span<const Token> text,
                          const PrefillOptions& prefill) {
  KvOptions full;
  full.policy = "full";
  std::vector<float> logits;
  RESTKV_ASSIGN([[maybe_unused]] const auto sequences,
                engine.prefill(text, {&full, 1}, prefill, logits));
  return {};
}

PrefillOptions watched_prefill(Progress* progress, const std::atomic<bool>& cancel,
                               std::size_t n_tokens, const PrefillAttention& attention) {
  PrefillOptions options;
  options.cancel = &cancel;
  options.attention = attention;
  if (progress == nullptr) return options;
  progress->begin({.label = "reading", .unit = ProgressUnit::kTokens, .total = n_tokens});
  options.on_progress = [progress](const PrefillProgress& now) {
    progress->update(now.tokens_done);
    if (now.tokens_done == now.tokens_total) progress->end();
  };
  return options;
}

}  // namespace restkv
