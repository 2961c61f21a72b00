// `restkv perplexity`: llama.cpp's definition. The text is cut into chunks of -c tokens; in each,
// the tokens of the second half are predicted from all that stands before them in the chunk. With a
// policy the first half is read and compressed, then the second half is predicted on top of what
// was kept: the method has not seen what is asked of it, which is the mode "agnostic".

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/likelihood.h"
#include "cli/options.h"
#include "cli/perplexity_stream.h"
#include "cli/questions.h"
#include "cli/session.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr long long kLeastContext = 8;
constexpr long long kDefaultContext = 512;
constexpr long long kNotGiven = -1;

struct PerplexityOptions {
  CommonOptions common;
  std::string file;
  std::string prompt;
  std::optional<long long> chunks;  // -1 = all
  StretchRule stretches;
};

// Reads one chunk and adds the predictions of its second half.
Result<void> measure_chunk(Session& session, std::span<const Token> chunk, const KvOptions& variant,
                           PrefillOptions options, Likelihood& likelihood) {
  const std::size_t half = chunk.size() / 2;
  const bool compressed = !find_policy(variant.policy)->keeps_all;
  std::size_t offset = 0;  // of the prefill that yields logits, within the chunk
  const auto on_logits = [&](std::size_t first, View2<const float> logits) {
    for (std::size_t i = 0; i < logits.rows; ++i) {
      const std::size_t at = offset + first + i;
      if (at >= half && at + 1 < chunk.size()) {
        likelihood.add(Likelihood::of(logits.row(i), chunk[at + 1]));
      }
    }
  };
  std::vector<float> last;
  if (!compressed) {
    options.on_logits = on_logits;
    options.logits_from = half;
    RESTKV_ASSIGN(auto whole, session.engine->prefill(chunk, {&variant, 1}, options, last));
    return {};
  }
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                session.engine->prefill(chunk.first(half), {&variant, 1}, options, last));
  offset = half;
  options.on_logits = on_logits;
  return session.engine->extend(sequences.front(), chunk.subspan(half), options, last);
}

Result<std::string> text_of(const PerplexityOptions& options) {
  if (options.file.empty()) return options.prompt;
  RESTKV_ASSIGN(std::string text, read_text_file(options.file));
  if (text.ends_with('\n')) text.pop_back();  // as llama.cpp's own tool does
  return text;
}

Result<std::vector<Token>> tokens_of(const Session& session, const std::string& text) {
  return session.vocabulary->tokenize(text, {.special = SpecialText::kPlain, .bos = Bos::kByModel});
}

// The text, or its first -c tokens, fed one by one.
Result<int> measure_fed(const PerplexityOptions& options, std::span<const KvOptions> variants,
                        const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::string text, text_of(options));
  CommonOptions common = options.common;
  common.context = 0;  // how much is read is no context: rows go
  RESTKV_ASSIGN(Session session, Session::open(common, interrupt.flag()));
  RESTKV_ASSIGN(std::vector<Token> tokens, tokens_of(session, text));
  const auto wanted = static_cast<std::size_t>(options.common.context);
  if (tokens.size() < std::max<std::size_t>(wanted, 2)) {
    return Error{ErrorCode::kInvalidArgument,
                 "the text has " + std::to_string(tokens.size()) + " tokens; " +
                     (wanted > 0 ? "-c asks for " + std::to_string(wanted)
                                 : std::string("a perplexity needs at least 2"))};
  }
  if (wanted > 0) tokens.resize(wanted);
  RESTKV_TRY(measure_stream(session, tokens, variants, options.stretches, interrupt));
  return 0;
}

Result<int> measure(const PerplexityOptions& options, const KvOptions& variant,
                    const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::string text, text_of(options));
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  const std::size_t n_ctx = session.context;
  if (static_cast<long long>(n_ctx) < kLeastContext) {
    return Error{ErrorCode::kInvalidArgument, "the model's context of " + std::to_string(n_ctx) +
                                                  " tokens is too short; -c takes a longer one"};
  }
  RESTKV_ASSIGN(std::vector<Token> tokens, tokens_of(session, text));
  if (tokens.size() < 2 * n_ctx) {
    return Error{ErrorCode::kInvalidArgument, "the text has " + std::to_string(tokens.size()) +
                                                  " tokens; a context of " + std::to_string(n_ctx) +
                                                  " needs at least " + std::to_string(2 * n_ctx)};
  }
  std::size_t n_chunk = tokens.size() / n_ctx;
  if (options.chunks.value_or(-1) >= 0) {
    n_chunk = std::min(n_chunk, static_cast<std::size_t>(*options.chunks));
  }
  if (find_policy(variant.policy)->keeps_all) {
    std::fprintf(stderr, "perplexity over %zu chunks of %zu tokens, full cache\n", n_chunk, n_ctx);
  } else {
    std::fprintf(
        stderr,
        "perplexity over %zu chunks of %zu tokens: the second half of each is predicted from "
        "the first half compressed by %s, budget %s, %s, schedule %s, mode %s\n",
        n_chunk, n_ctx, variant.policy.c_str(), variant.budget.text().c_str(),
        variant.allocator.c_str(), schedule_text(variant.policy, variant.schedule.text()).c_str(),
        std::string(query_mode_name(QueryMode::kAgnostic)).c_str());
  }
  // On a terminal the bar would be drawn over the estimates, which tell how far it is as well.
  const auto progress = isatty(STDOUT_FILENO) != 0 ? nullptr : make_progress(stderr);
  if (progress)
    progress->begin({.label = "reading", .unit = ProgressUnit::kTokens, .total = n_chunk * n_ctx});
  Likelihood likelihood;
  for (std::size_t c = 0; c < n_chunk; ++c) {
    const std::span<Token> chunk(tokens.data() + c * n_ctx, n_ctx);
    const Token first = chunk.front();
    if (session.vocabulary->adds_bos() && session.vocabulary->bos()) {
      chunk.front() = *session.vocabulary->bos();
    }
    PrefillOptions prefill;
    prefill.cancel = &interrupt.flag();
    prefill.attention = options.common.prefill;
    RESTKV_TRY(measure_chunk(session, chunk, variant, prefill, likelihood));
    chunk.front() = first;
    if (progress) progress->update((c + 1) * n_ctx);
    std::printf("[%zu]%.4f,", c + 1, likelihood.perplexity());
    std::fflush(stdout);
  }
  if (progress) progress->end();
  std::printf("\nFinal estimate: PPL = %.4f +/- %.5f\n", likelihood.perplexity(),
              likelihood.error());
  return 0;
}

// What of the command line does not go together, before a model is looked at.
Result<void> check(const PerplexityOptions& options, std::span<const KvOptions> variants) {
  const auto wrong = [](std::string text) -> Result<void> {
    return Error{ErrorCode::kInvalidArgument, std::move(text)};
  };
  if (options.file.empty() == options.prompt.empty()) {
    return wrong("give the text with -f or with -p");
  }
  const Schedule& schedule = variants.front().schedule;
  if (schedule.acts_in_decode()) {
    const std::string fed = "--kv-schedule " + schedule.text() + " feeds a text token by token: ";
    if (options.chunks) {
      return wrong(fed + "there are no chunks for --chunks; -c N reads the first N tokens");
    }
    if (options.common.prefill.pattern != "dense") {
      return wrong(fed + "nothing is prefilled that --prefill " + options.common.prefill.pattern +
                   " could change");
    }
    if (options.common.context == 1) return wrong("a perplexity needs at least 2 tokens");
    return {};
  }
  if (!options.stretches.empty()) {
    return wrong("--stretch needs a text that is fed token by token: --kv-schedule cap or every:N");
  }
  if (options.chunks == 0) return wrong("--chunks 0 leaves nothing to measure");
  if (options.common.context > 0 && options.common.context < kLeastContext) {
    return wrong("a perplexity needs a context of at least 8 tokens");
  }
  if (variants.size() != 1) {
    return wrong(
        "perplexity takes one policy, one budget, one allocator, unless the text is fed token by "
        "token (--kv-schedule cap or every:N)");
  }
  return {};
}

}  // namespace

int perplexity_command(Arguments args) {
  PerplexityOptions options;
  options.common.policies = "full";
  options.common.context = kDefaultContext;  // as the help says
  FlagSet flags(
      "usage: restkv perplexity [-m MODEL] -f FILE [-c N] [--chunks K] [options]\n"
      "       restkv perplexity [-m MODEL] -f FILE [-c N] --kv-schedule cap [--stretch LIST] "
      "...\n\n"
      "Perplexity of a text, in chunks of -c tokens, by llama.cpp's definition. Under a schedule "
      "that\n"
      "acts while generating (cap, every:N) the text, or its first -c tokens, is fed token by "
      "token\n"
      "through the cache; policies and budgets may then be lists, fed as one batch.");
  flags.begin_section("text");
  flags.add_text({"-f", "--file"}, "FNAME", "text to read", &options.file);
  flags.add_text({"-p", "--prompt"}, "TEXT", "text to read", &options.prompt);
  flags.add_integer({"--chunks"}, "chunks to read, -1 = all (-1)", -1, 1 << 30,
                    [&options](long long v) { options.chunks = v; });
  flags.add({.names = {"--stretch"},
             .value_name = "LIST",
             .help = "of a text that is fed token by token: tell the perplexity of every N tokens, "
                     "or of stretches such as 5000-15000,40000-50000",
             .environment = "",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.stretches, StretchRule::parse(text));
               return {};
             }});
  add_kv_flags(flags, options.common);
  // Every row is read: what a part of them would predict is another question.
  for (const std::string_view name : {"--decode-attn", "--decode-budget", "--decode-table"}) {
    flags.remove(name);
  }
  add_model_flags(flags, options.common);
  options.common.context = kNotGiven;
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  auto variants = expand_variants(options.common);
  if (!variants.ok()) return report_usage(variants.error());
  if (auto checked = check(options, *variants); !checked.ok()) return report_usage(checked.error());
  print_notices(flags);
  const InterruptGuard interrupt;
  const bool fed = variants->front().schedule.acts_in_decode();
  if (options.common.context == kNotGiven) options.common.context = fed ? 0 : kDefaultContext;
  auto status = fed ? measure_fed(options, *variants, interrupt)
                    : measure(options, variants->front(), interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
