// `restkv chat`: a conversation on one compressed cache. Each turn is read on top of what was kept,
// and then the method is applied to everything held.

#include <unistd.h>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/session.h"

namespace restkv {
namespace {

struct ChatOptions {
  CommonOptions common;
  PromptOptions prompt;
  GenerationOptions generation;
};

class Chat {
 public:
  Chat(Session session, const ChatOptions& options, const KvOptions& variant, ChatTemplate chat,
       Sampler sampler)
      : session_(std::move(session)),
        options_(options),
        variant_(variant),
        template_(std::move(chat)),
        sampler_(std::move(sampler)),
        progress_(make_progress(stderr)) {}

  // Answers one message. When it cannot be read, the conversation is as it was before.
  Result<void> turn(const std::string& user, const std::atomic<bool>& cancel);
  [[nodiscard]] const std::string& last_report() const { return last_report_; }

 private:
  Result<void> read(std::vector<Message>& messages, const std::atomic<bool>& cancel,
                    std::vector<float>& logits, std::size_t& n_read);

  Session session_;
  const ChatOptions& options_;
  const KvOptions& variant_;
  ChatTemplate template_;
  Sampler sampler_;
  std::unique_ptr<Progress> progress_;
  std::vector<Message> messages_;
  std::optional<Sequence> sequence_;
  std::optional<Token> pending_;  // generated, shown, not yet in the cache
  Token last_token_ = 0;          // last one in the cache, the pending one included
  std::string last_report_ = "nothing was read yet\n";
};

Result<void> Chat::read(std::vector<Message>& messages, const std::atomic<bool>& cancel,
                        std::vector<float>& logits, std::size_t& n_read) {
  if (!sequence_) {
    RESTKV_ASSIGN(const Prompt prompt, template_.render(messages));
    RESTKV_TRY(session_.check_length(prompt.tokens.size()));
    n_read = prompt.tokens.size();
    RESTKV_ASSIGN(
        std::vector<Sequence> made,
        session_.engine->prefill(prompt.tokens, {&variant_, 1},
                                 watched_prefill(progress_.get(), cancel, n_read), logits));
    sequence_ = std::move(made.front());
    last_token_ = prompt.tokens.back();
    return {};
  }
  RESTKV_ASSIGN(const Prompt suffix,
                template_.turn_suffix(messages, messages.size() - 1, last_token_));
  std::vector<Token> tokens;
  if (pending_) tokens.push_back(*pending_);
  tokens.insert(tokens.end(), suffix.tokens.begin(), suffix.tokens.end());
  RESTKV_TRY(
      session_.check_length(static_cast<std::size_t>(sequence_->next_position()) + tokens.size()));
  n_read = tokens.size();
  RESTKV_TRY(session_.engine->extend(*sequence_, tokens,
                                     watched_prefill(progress_.get(), cancel, n_read), logits));
  last_token_ = tokens.back();
  return {};
}

Result<void> Chat::turn(const std::string& user, const std::atomic<bool>& cancel) {
  std::vector<Message> messages = messages_;
  if (messages.empty() && !options_.prompt.system_prompt.empty()) {
    messages.push_back({.role = Role::kSystem, .content = options_.prompt.system_prompt});
  }
  messages.push_back({.role = Role::kUser, .content = user});
  std::vector<float> logits;
  std::size_t n_read = 0;
  RESTKV_TRY(read(messages, cancel, logits, n_read));
  pending_.reset();
  const GenerationRequest request{.n_predict = options_.generation.n_predict,
                                  .context = session_.context,
                                  .cancel = &cancel,
                                  .on_text = print_text};
  RESTKV_ASSIGN(const Generation generated, generate(*session_.engine, *session_.vocabulary,
                                                     *sequence_, sampler_, logits, request));
  std::fputs("\n", stdout);
  pending_ = generated.pending;
  if (!generated.tokens.empty()) last_token_ = generated.tokens.back();
  messages.push_back({.role = Role::kAssistant, .content = generated.text});
  messages_ = std::move(messages);
  const KvReport report = sequence_->report();
  last_report_ = report_text(
      report, answer_timings(n_read, session_.engine->last_prefill(), report, generated),
      generated.stop);
  if (generated.stop == StopReason::kContext) {
    return Error{ErrorCode::kInvalidArgument, "the context is full; -c gives a longer one"};
  }
  return {};
}

Result<int> converse(const ChatOptions& options, const KvOptions& variant) {
  std::string document;
  if (!options.prompt.file.empty()) {
    PromptOptions only_the_file = options.prompt;
    only_the_file.prompt.clear();
    RESTKV_ASSIGN(document, user_message(only_the_file));
  }
  std::optional<InterruptGuard> interrupt(std::in_place);
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt->flag()));
  RESTKV_ASSIGN(ChatTemplate chat_template,
                ChatTemplate::make(session.vocabulary, options.prompt.chat_template));
  GenerationOptions generation = options.generation;
  RESTKV_ASSIGN(Sampler sampler, make_sampler(generation, *session.vocabulary));
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) {
    std::fprintf(stderr, "Ctrl-C ends an answer; /report shows the cache; /exit or Ctrl-D ends.\n");
  }
  Chat chat(std::move(session), options, variant, std::move(chat_template), std::move(sampler));
  std::string question = options.prompt.prompt;
  interrupt.reset();
  while (true) {
    if (question.empty()) {
      if (terminal) std::fputs("\n> ", stderr);
      if (!std::getline(std::cin, question)) break;
    }
    if (question == "/exit") break;
    if (question == "/report") {
      std::fputs(chat.last_report().c_str(), stderr);
    } else if (!question.empty()) {
      std::string message = document;
      if (!message.empty()) message += "\n\n";
      message += question;
      interrupt.emplace();
      const auto answered = chat.turn(message, interrupt->flag());
      interrupt.reset();
      if (answered.ok()) {
        document.clear();
      } else {
        std::fprintf(stderr, "restkv: %s\n", answered.error().message.c_str());
      }
    }
    question.clear();
  }
  std::fprintf(stderr, "\n%s", chat.last_report().c_str());
  return 0;
}

}  // namespace

int chat_command(Arguments args) {
  ChatOptions options;
  FlagSet flags(
      "usage: restkv chat [-m MODEL] [-f FILE] [options]\n\n"
      "A conversation; the text of -f goes before the first question.");
  add_prompt_flags(flags, options.prompt);
  add_generation_flags(flags, options.generation, options.common);
  add_kv_flags(flags, options.common);
  add_model_flags(flags, options.common);
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (options.common.show_help) {
    std::fputs(flags.help().c_str(), stdout);
    return 0;
  }
  if (options.prompt.raw) {
    return report_usage({ErrorCode::kInvalidArgument, "chat needs a template: --raw is for run"});
  }
  auto variants = expand_variants(options.common);
  if (!variants.ok()) return report_usage(variants.error());
  if (variants->size() != 1) {
    return report_usage(
        {ErrorCode::kInvalidArgument, "chat takes one policy, one budget, one allocator"});
  }
  print_notices(flags);
  auto status = converse(options, variants->front());
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
