// `restkv chat`: a conversation on one compressed cache. Each turn is read on top of what was kept,
// and then the method is applied to everything held.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>
#include <span>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/questions.h"
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
       Sampler sampler, SamplerOptions sampling)
      : session_(std::move(session)),
        options_(options),
        variant_(variant),
        template_(std::move(chat)),
        sampler_(std::move(sampler)),
        sampling_(std::move(sampling)),
        progress_(make_progress(stderr)) {}

  // Reads one message, its answer comes next. After a failure the conversation is as it was.
  Result<void> ask(const std::string& user, const std::atomic<bool>& cancel);
  // Prints the answer to what was asked. A failure is the end of the conversation.
  Result<void> answer(const std::atomic<bool>& cancel);
  [[nodiscard]] const std::string& last_report() const { return last_report_; }

 private:
  Result<void> read(const std::vector<Message>& messages, const std::atomic<bool>& cancel);

  Session session_;
  const ChatOptions& options_;
  const KvOptions& variant_;
  ChatTemplate template_;
  Sampler sampler_;
  SamplerOptions sampling_;  // what it was made of
  std::unique_ptr<Progress> progress_;
  std::vector<Message> messages_;
  std::vector<float> logits_;  // after the last token that was read
  std::size_t n_read_ = 0;     // tokens of the last message
  std::optional<Sequence> sequence_;
  std::optional<Token> pending_;  // generated, shown, not yet in the cache
  Token last_token_ = 0;          // last one in the cache, the pending one included
  std::string last_report_ = "nothing was read yet\n";
};

// A message is read whole before rows go for it, so the method has seen what is asked. Of earlier
// messages, and of the text of -f, rows went for what was asked then.
constexpr QueryMode kMode = QueryMode::kAware;

// One line below each answer: nothing is dropped in silence.
std::string turn_line(const KvReport& report, StopReason stop) {
  std::string line = "[" + std::to_string(report.prompt_tokens) + " tokens read, ";
  if (report.untouched) {
    line += "all kept";
  } else {
    line += std::to_string(std::lround(report.kept_tokens_mean)) + " kept in each head, " +
            mib(report.bytes);
  }
  line += ", schedule " + schedule_text(report.policy, report.schedule) + ", mode " +
          std::string(query_mode_name(kMode));
  if (stop == StopReason::kCancelled) line += "; stopped";
  if (stop == StopReason::kLimit) line += "; -n ended the answer";
  if (stop == StopReason::kContext) line += "; the context is full, -c gives a longer one";
  return line + "]\n";
}

Result<void> Chat::read(const std::vector<Message>& messages, const std::atomic<bool>& cancel) {
  if (!sequence_) {
    RESTKV_ASSIGN(const Prompt prompt, template_.render(messages));
    RESTKV_TRY(session_.check_length(prompt.tokens.size()));
    n_read_ = prompt.tokens.size();
    RESTKV_ASSIGN(
        std::vector<Sequence> made,
        session_.engine->prefill(
            prompt.tokens, {&variant_, 1},
            watched_prefill(progress_.get(), cancel, n_read_, options_.common.prefill), logits_));
    sequence_ = std::move(made.front());
    sampler_.accept(prompt.tokens);
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
  n_read_ = tokens.size();
  RESTKV_TRY(session_.engine->extend(
      *sequence_, tokens,
      watched_prefill(progress_.get(), cancel, n_read_, options_.common.prefill), logits_));
  sampler_.accept(suffix.tokens);  // it knows the pending token, which it has drawn
  last_token_ = tokens.back();
  return {};
}

Result<void> Chat::ask(const std::string& user, const std::atomic<bool>& cancel) {
  std::vector<Message> messages = messages_;
  if (messages.empty() && !options_.prompt.system_prompt.empty()) {
    messages.push_back({.role = Role::kSystem, .content = options_.prompt.system_prompt});
  }
  messages.push_back({.role = Role::kUser, .content = user});
  if (auto done = read(messages, cancel); !done.ok()) {
    progress_->end();
    return done;
  }
  pending_.reset();
  messages_ = std::move(messages);
  return {};
}

Result<void> Chat::answer(const std::atomic<bool>& cancel) {
  const GenerationRequest request{.n_predict = options_.generation.n_predict,
                                  .context = session_.context,
                                  .cancel = &cancel,
                                  .on_text = print_text};
  RESTKV_ASSIGN(const Generation generated, generate(*session_.engine, *session_.vocabulary,
                                                     *sequence_, sampler_, logits_, request));
  std::fputs("\n", stdout);
  std::fflush(stdout);
  pending_ = generated.pending;
  if (!generated.tokens.empty()) last_token_ = generated.tokens.back();
  messages_.push_back({.role = Role::kAssistant, .content = generated.text});
  const KvReport report = sequence_->report();
  last_report_ =
      report_text(report,
                  answer_timings(n_read_, session_.engine->last_prefill(), report, generated),
                  generated.stop, kMode) +
      sampling_text(sampling_);
  std::fprintf(stderr, "%s", turn_line(report, generated.stop).c_str());
  return {};
}

constexpr const char* kChatCommands =
    "/report shows what the cache holds, /exit or Ctrl-D ends, /help says this.\n";

// A slash and a word alone. "/etc/hosts" and "/24 networks" are messages.
bool is_command(std::string_view line) {
  if (line.size() < 2 || line[0] != '/') return false;
  return std::ranges::all_of(line.substr(1), [](char c) { return c >= 'a' && c <= 'z'; });
}

// The questions of -p in turn, then the lines of standard input.
class Input {
 public:
  explicit Input(std::span<const std::string> questions) : questions_(questions) {}
  [[nodiscard]] bool is_terminal() const { return is_terminal_; }
  // Nothing at the end, and where an interrupt ended the wait.
  std::optional<std::string> next();
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  std::span<const std::string> questions_;
  bool is_terminal_ = isatty(STDIN_FILENO) != 0;
  bool interrupted_ = false;
};

std::optional<std::string> Input::next() {
  if (!questions_.empty()) {
    const std::string& question = questions_.front();
    questions_ = questions_.subspan(1);
    return question;
  }
  if (is_terminal_) std::fputs("\n> ", stderr);
  // Here Ctrl-C ends the wait, and with it the conversation.
  const InterruptGuard waiting;
  std::string line;
  if (!std::getline(std::cin, line)) {
    interrupted_ = waiting.interrupted();
    return std::nullopt;
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

void obey(const std::string& command, const std::string& last_report) {
  if (command == "/report") {
    std::fputs(last_report.c_str(), stderr);
    return;
  }
  if (command != "/help") std::fprintf(stderr, "restkv: unknown command '%s'\n", command.c_str());
  std::fputs(kChatCommands, stderr);
}

// Messages and their answers until the input ends. The exit status.
Result<int> exchange(Chat& chat, Input& input, std::string document) {
  int status = 0;
  while (const std::optional<std::string> line = input.next()) {
    if (*line == "/exit") return status;
    if (line->empty()) continue;
    if (is_command(*line)) {
      obey(*line, chat.last_report());
      continue;
    }
    const InterruptGuard interrupt;
    if (const auto asked = chat.ask(user_message(document, *line), interrupt.flag()); asked.ok()) {
      document.clear();
      RESTKV_TRY(chat.answer(interrupt.flag()));
    } else {
      const int failed = report_error(asked.error());
      // A person sees it and asks otherwise; a script has nothing but the status.
      if (!input.is_terminal() && failed != kExitInterrupted) status = failed;
    }
    // Ctrl-C was meant for this answer alone; who ends the program means all of it.
    if (interrupt.terminated()) return kExitInterrupted;
  }
  return input.interrupted() ? kExitInterrupted : status;
}

Result<int> converse(const ChatOptions& options, const KvOptions& variant) {
  RESTKV_ASSIGN(std::string document, document_text(options.prompt));
  std::optional<InterruptGuard> interrupt(std::in_place);
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt->flag()));
  RESTKV_ASSIGN(ChatTemplate chat_template,
                ChatTemplate::make(session.vocabulary, options.prompt.chat_template));
  SamplerOptions sampling = sampler_options(options.generation, session);
  RESTKV_ASSIGN(Sampler sampler, Sampler::make(sampling, session.vocabulary->size()));
  Input input(options.prompt.prompts);
  if (input.is_terminal()) std::fprintf(stderr, "Ctrl-C ends an answer.\n%s", kChatCommands);
  Chat chat(std::move(session), options, variant, std::move(chat_template), std::move(sampler),
            std::move(sampling));
  if (interrupt->interrupted()) return kExitInterrupted;  // while the model was loaded
  interrupt.reset();
  RESTKV_ASSIGN(const int status, exchange(chat, input, std::move(document)));
  std::fprintf(stderr, "\n%s", chat.last_report().c_str());
  return status;
}

// Not among what the help lists, and still an error that says why.
void refuse_raw(FlagSet& flags) {
  flags.remove("--raw");
  flags.add({.names = {"--raw"},
             .value_name = "",
             .help = {},
             .environment = "",
             .set = [](std::string_view) -> Result<void> {
               return Error{ErrorCode::kInvalidArgument, "chat needs a template: --raw is for run"};
             },
             .kind = Flag::Kind::kRefused});
}

}  // namespace

int chat_command(Arguments args) {
  ChatOptions options;
  FlagSet flags(
      "usage: restkv chat [-m MODEL] [-f FILE] [options]\n\n"
      "A conversation: each line of the input is a message. The text of -f goes before the first\n"
      "one, and those of -p come first, in their order. Each turn is read on top of what the\n"
      "cache kept, and then the method is applied to all of it. Ctrl-C ends an answer, and the\n"
      "conversation goes on; Ctrl-C between answers ends it, and SIGTERM ends it at any time.\n\n" +
      std::string(kChatCommands).substr(0, std::string_view(kChatCommands).size() - 1));
  add_prompt_flags(flags, options.prompt);
  refuse_raw(flags);
  add_generation_flags(flags, options.generation, options.common);
  add_kv_flags(flags, options.common);
  add_model_flags(flags, options.common);
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
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
