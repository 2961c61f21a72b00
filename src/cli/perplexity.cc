// `restkv perplexity`: llama.cpp's definition. The text is cut into chunks of -c tokens; in each,
// the tokens of the second half are predicted from all that stands before them in the chunk. With a
// policy the first half is read and compressed, then the second half is predicted on top of what
// was kept.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/session.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr long long kDefaultContext = 512;

struct PerplexityOptions {
  CommonOptions common;
  std::string file;
  std::string prompt;
  long long chunks = -1;
};

// Mean and uncertainty of the negative log-likelihoods seen so far.
class Likelihood {
 public:
  void add(std::span<const float> logits, Token next) {
    const float max = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
    const double nll =
        std::log(sum) - (static_cast<double>(logits[static_cast<std::size_t>(next)]) - max);
    sum_ += nll;
    squares_ += nll * nll;
    ++count_;
  }
  [[nodiscard]] double perplexity() const { return std::exp(sum_ / static_cast<double>(count_)); }
  // Standard error of the mean, carried through the exponential.
  [[nodiscard]] double error() const {
    if (count_ < 2) return 0;
    const double mean = sum_ / static_cast<double>(count_);
    const double variance = squares_ / static_cast<double>(count_) - mean * mean;
    return std::sqrt(std::max(0.0, variance) / static_cast<double>(count_ - 1)) * perplexity();
  }

 private:
  double sum_ = 0;
  double squares_ = 0;
  std::size_t count_ = 0;
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
      if (at >= half && at + 1 < chunk.size()) likelihood.add(logits.row(i), chunk[at + 1]);
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

Result<int> measure(const PerplexityOptions& options, const KvOptions& variant,
                    const InterruptGuard& interrupt) {
  std::string text = options.prompt;
  if (!options.file.empty()) {
    RESTKV_ASSIGN(text, read_text_file(options.file));
  }
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  const std::size_t n_ctx = session.context;
  RESTKV_ASSIGN(
      std::vector<Token> tokens,
      session.vocabulary->tokenize(text, {.special = SpecialText::kPlain, .bos = Bos::kByModel}));
  if (tokens.size() < 2 * n_ctx) {
    return Error{ErrorCode::kInvalidArgument, "the text has " + std::to_string(tokens.size()) +
                                                  " tokens; a context of " + std::to_string(n_ctx) +
                                                  " needs at least " + std::to_string(2 * n_ctx)};
  }
  std::size_t n_chunk = tokens.size() / n_ctx;
  if (options.chunks >= 0) n_chunk = std::min(n_chunk, static_cast<std::size_t>(options.chunks));
  if (find_policy(variant.policy)->keeps_all) {
    std::fprintf(stderr, "perplexity over %zu chunks of %zu tokens, full cache\n", n_chunk, n_ctx);
  } else {
    std::fprintf(
        stderr,
        "perplexity over %zu chunks of %zu tokens: the second half of each is predicted from "
        "the first half compressed by %s, budget %s, %s\n",
        n_chunk, n_ctx, variant.policy.c_str(), variant.budget.text().c_str(),
        variant.allocator.c_str());
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

}  // namespace

int perplexity_command(Arguments args) {
  PerplexityOptions options;
  options.common.policies = "full";
  options.common.context = kDefaultContext;
  FlagSet flags(
      "usage: restkv perplexity [-m MODEL] -f FILE [-c N] [--chunks K] [options]\n\n"
      "Perplexity of a text, in chunks of -c tokens, by llama.cpp's definition.");
  flags.begin_section("text");
  flags.add_text({"-f", "--file"}, "FNAME", "text to read", &options.file);
  flags.add_text({"-p", "--prompt"}, "TEXT", "text to read", &options.prompt);
  flags.add_integer({"--chunks"}, "chunks to read, -1 = all (-1)", -1, 1 << 30,
                    [&options](long long v) { options.chunks = v; });
  add_kv_flags(flags, options.common);
  // Everything is read as a prompt, nothing decoded.
  for (const std::string_view name : {"--decode-attn", "--decode-budget", "--decode-table"}) {
    flags.remove(name);
  }
  add_model_flags(flags, options.common);
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (options.common.show_help) {
    std::fputs(flags.help().c_str(), stdout);
    return 0;
  }
  const auto usage = [](const char* text) {
    return report_usage({ErrorCode::kInvalidArgument, text});
  };
  if (options.file.empty() == options.prompt.empty())
    return usage("give the text with -f or with -p");
  if (options.chunks == 0) return usage("--chunks 0 leaves nothing to measure");
  if (options.common.context != 0 && options.common.context < 8) {
    return usage("a perplexity needs a context of at least 8 tokens");
  }
  auto variants = expand_variants(options.common);
  if (!variants.ok()) return report_usage(variants.error());
  if (variants->size() != 1) return usage("perplexity takes one policy, one budget, one allocator");
  if (variants->front().schedule.acts_in_decode()) {
    return usage(
        "perplexity reads all of a text and generates nothing: --kv-schedule every:N and "
        "cap have nothing to act on (use once or chunk:N)");
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = measure(options, variants->front(), interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
