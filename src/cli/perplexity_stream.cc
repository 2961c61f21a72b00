#include "cli/perplexity_stream.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>

#include "cli/bench_row.h"
#include "cli/likelihood.h"
#include "cli/questions.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

// The whole text as a number.
bool parse_count(std::string_view text, std::size_t& count) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end == text.data() + text.size();
}

std::string label_of(const KvOptions& variant) {
  std::string text = policy_text(variant);
  if (find_policy(variant.policy)->keeps_all) return text;
  text += " " + variant.budget.text();
  if (variant.allocator != "uniform") text += " " + variant.allocator;
  return text;
}

bool renumbers(const KvOptions& variant) {
  return std::ranges::any_of(variant.policy_options, [](const auto& option) {
    return option.first == "positions" && option.second == "renumbered";
  });
}

// One variant: what it predicted, of all tokens and of each stretch.
struct Line {
  std::string label;
  Likelihood all;
  std::vector<Likelihood> of_stretch;
};

void print_stretch(const Line& line, const Stretch& stretch, std::size_t index) {
  const Likelihood& own = line.of_stretch[index];
  std::printf("tokens %zu-%zu: PPL = %.4f +/- %.5f (%s)", stretch.begin, stretch.end,
              own.perplexity(), own.error(), line.label.c_str());
  const Likelihood& first = line.of_stretch.front();
  if (index > 0 && first.count() > 0) {
    std::printf(", %+.2f %% of the first", (own.perplexity() / first.perplexity() - 1) * 100);
  }
  std::printf("\n");
}

// Predictions of the token at `at`. logits: [lines, n_vocab], or one row for all.
void note(std::vector<Line>& lines, View2<const float> logits, std::span<const Stretch> stretches,
          std::size_t at, Token token) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double nll = Likelihood::of(logits.row(logits.rows == 1 ? 0 : i), token);
    lines[i].all.add(nll);
    for (std::size_t s = 0; s < stretches.size(); ++s) {
      if (stretches[s].begin <= at && at < stretches[s].end) lines[i].of_stretch[s].add(nll);
    }
  }
  for (std::size_t s = 0; s < stretches.size(); ++s) {
    if (at + 1 != stretches[s].end) continue;
    for (const Line& line : lines) print_stretch(line, stretches[s], s);
    std::fflush(stdout);
  }
}

}  // namespace

Result<StretchRule> StretchRule::parse(std::string_view text) {
  const Error wrong{ErrorCode::kInvalidArgument,
                    "--stretch takes a number of tokens, or stretches such as "
                    "5000-15000,40000-50000, not '" +
                        std::string(text) + "'"};
  std::size_t length = 0;
  if (parse_count(text, length)) {
    if (length < 2) return wrong;
    return StretchRule{.length = length, .named = {}};
  }
  StretchRule rule;
  for (const std::string& item : split_list(text)) {
    const std::size_t dash = item.find('-');
    Stretch stretch;
    if (dash == std::string::npos ||
        !parse_count(std::string_view(item).substr(0, dash), stretch.begin) ||
        !parse_count(std::string_view(item).substr(dash + 1), stretch.end) ||
        stretch.end <= std::max<std::size_t>(stretch.begin, 1)) {
      return wrong;
    }
    rule.named.push_back(stretch);
  }
  if (rule.named.empty()) return wrong;
  return rule;
}

Result<std::vector<Stretch>> StretchRule::of(std::size_t tokens) const {
  std::vector<Stretch> stretches = named;
  for (const Stretch& stretch : named) {
    if (stretch.end <= tokens) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "--stretch " + std::to_string(stretch.begin) + "-" + std::to_string(stretch.end) +
                     " goes beyond the " + std::to_string(tokens) + " tokens that are read"};
  }
  if (length > 0) {
    for (std::size_t begin = 0; begin < tokens; begin += length) {
      stretches.push_back({.begin = begin, .end = std::min(begin + length, tokens)});
    }
  }
  return stretches;
}

Result<void> measure_stream(Session& session, std::span<const Token> tokens,
                            std::span<const KvOptions> variants, const StretchRule& rule,
                            const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::vector<Stretch> stretches, rule.of(tokens.size()));
  const auto trained = static_cast<std::size_t>(session.engine->model().n_ctx_train);
  if (tokens.size() > trained && !std::ranges::all_of(variants, renumbers)) {
    std::fprintf(stderr,
                 "restkv: warning: positions go up to %zu, beyond the %zu that the model was "
                 "trained for\n",
                 tokens.size(), trained);
  }
  std::fprintf(stderr, "perplexity over %zu tokens, fed one by one, schedule %s, mode %s\n",
               tokens.size(), variants.front().schedule.text().c_str(),
               std::string(query_mode_name(QueryMode::kAgnostic)).c_str());
  std::vector<Line> lines;
  for (const KvOptions& variant : variants) {
    lines.push_back({.label = label_of(variant),
                     .all = {},
                     .of_stretch = std::vector<Likelihood>(stretches.size())});
  }
  const auto progress = isatty(STDOUT_FILENO) != 0 ? nullptr : make_progress(stderr);
  if (progress)
    progress->begin(
        {.label = "reading", .unit = ProgressUnit::kTokens, .total = tokens.size(), .start = 0});

  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  std::vector<float> logits;  // [variants, n_vocab]; after the first token one row for all
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                session.engine->prefill(tokens.first(1), variants, prefill, logits));
  const std::size_t n_vocab = logits.size();
  note(lines, {logits.data(), 1, n_vocab}, stretches, 1, tokens[1]);
  logits.resize(variants.size() * n_vocab);
  std::vector<Sequence*> batch;
  for (Sequence& sequence : sequences) batch.push_back(&sequence);
  for (std::size_t at = 1; at + 1 < tokens.size(); ++at) {
    if (interrupt.interrupted()) {
      return Error{ErrorCode::kCancelled, "interrupted while reading the text"};
    }
    const std::vector<Token> same(batch.size(), tokens[at]);
    RESTKV_TRY(session.engine->decode(batch, same, {logits.data(), batch.size(), n_vocab}));
    note(lines, {logits.data(), batch.size(), n_vocab}, stretches, at + 1, tokens[at + 1]);
    if (progress) progress->update(at + 2);
  }
  if (progress) progress->end();
  for (const Line& line : lines) {
    std::printf("Final estimate: PPL = %.4f +/- %.5f (%s)\n", line.all.perplexity(),
                line.all.error(), line.label.c_str());
  }
  return {};
}

}  // namespace restkv
