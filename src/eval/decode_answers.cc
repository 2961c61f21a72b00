#include "eval/decode_answers.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "text/sampler.h"

namespace restkv {
namespace {

constexpr std::size_t kLoopTurns = 4;
constexpr std::size_t kLoopTokens = 16;

// One answer as it grows.
struct Writer {
  Sequence* sequence = nullptr;
  Answer* answer = nullptr;
  std::vector<Token> tokens;
};

Result<Sampler> greedy(const Vocabulary& vocabulary, std::span<const Token> forbidden) {
  SamplerOptions options;
  options.temperature = 0;
  options.seed = 0;
  options.forbidden = vocabulary.suppressed();
  options.forbidden.insert(options.forbidden.end(), forbidden.begin(), forbidden.end());
  return Sampler::make(options, vocabulary.size());
}

// Cuts the text before the first stop text in it. A stop text can only have come to its end with
// the newest piece.
bool cut_at_stop(std::string& text, std::size_t newest, std::span<const std::string> stops) {
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    const std::size_t reach = newest + stop.size() - 1;
    const std::size_t from = text.size() > reach ? text.size() - reach : 0;
    cut = std::min(cut, text.find(stop, from));
  }
  if (cut == std::string::npos) return false;
  text.resize(cut);
  return true;
}

// Takes the next token; returns why the answer ends with it, if it does.
std::optional<AnswerEnd> take(Writer& writer, Token token, const Vocabulary& vocabulary,
                              const AnswerRule& rule) {
  if (vocabulary.is_end_of_generation(token)) return AnswerEnd::kEos;
  if (token == rule.end_token) return AnswerEnd::kText;
  writer.tokens.push_back(token);
  const std::string piece = vocabulary.piece(token);
  writer.answer->text += piece;
  if (cut_at_stop(writer.answer->text, piece.size(), rule.stops)) return AnswerEnd::kText;
  if (writer.tokens.size() >= rule.max_new_tokens) return AnswerEnd::kLimit;
  const auto position = static_cast<std::size_t>(writer.sequence->next_position());
  if (position + 1 >= rule.context) return AnswerEnd::kContext;
  return std::nullopt;
}

void finish(Writer& writer, AnswerEnd end, double ms) {
  Answer& answer = *writer.answer;
  answer.end = end;
  answer.tokens = writer.tokens.size();
  answer.decode_ms = ms;
  const bool cut_off = end == AnswerEnd::kLimit || end == AnswerEnd::kContext;
  answer.looping = cut_off && is_looping(writer.tokens);
}

}  // namespace

const char* answer_end_name(AnswerEnd end) {
  switch (end) {
    case AnswerEnd::kEos: return "eos";
    case AnswerEnd::kText: return "text";
    case AnswerEnd::kLimit: return "limit";
    case AnswerEnd::kContext: return "context";
  }
  return "?";
}

bool is_looping(std::span<const Token> tokens) {
  for (std::size_t period = 1; period * kLoopTurns <= tokens.size(); ++period) {
    const std::size_t span = std::max(period * kLoopTurns, kLoopTokens);
    if (span > tokens.size()) continue;
    const auto tail = tokens.last(span);
    if (std::ranges::equal(tail.subspan(period), tail.first(span - period))) return true;
  }
  return false;
}

Result<std::vector<Answer>> decode_answers(Engine& engine, const Vocabulary& vocabulary,
                                           std::span<Sequence> sequences,
                                           View2<const float> prompt_logits,
                                           const AnswerRule& rule) {
  RESTKV_CHECK(!sequences.empty() && rule.max_new_tokens > 0);
  RESTKV_CHECK(prompt_logits.rows == 1 || prompt_logits.rows == sequences.size());
  RESTKV_ASSIGN(Sampler any, greedy(vocabulary, {}));
  std::vector<Token> ends = vocabulary.end_of_generation();
  if (rule.end_token) ends.push_back(*rule.end_token);
  RESTKV_ASSIGN(Sampler going_on, greedy(vocabulary, ends));
  std::vector<Answer> answers(sequences.size());
  std::vector<Writer> writers(sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    writers[i] = {.sequence = &sequences[i], .answer = &answers[i], .tokens = {}};
  }
  const std::size_t n_vocab = prompt_logits.cols;
  std::vector<float> logits;
  const Clock::time_point start = Clock::now();
  for (std::size_t step = 0; !writers.empty(); ++step) {
    if (rule.cancel != nullptr && rule.cancel->load()) {
      return Error{ErrorCode::kCancelled, "interrupted; the same command goes on where it stopped"};
    }
    Sampler& sampler = step < rule.min_new_tokens ? going_on : any;
    std::vector<Writer> left;
    std::vector<Token> tokens;
    for (std::size_t i = 0; i < writers.size(); ++i) {
      const std::span<const float> mine =
          step == 0 ? prompt_logits.row(prompt_logits.rows == 1 ? 0 : i)
                    : std::span<const float>(logits).subspan(i * n_vocab, n_vocab);
      const Token token = sampler.sample(mine);
      if (const auto end = take(writers[i], token, vocabulary, rule)) {
        finish(writers[i], *end, ms_since(start));
        continue;
      }
      left.push_back(std::move(writers[i]));
      tokens.push_back(token);
    }
    writers = std::move(left);
    if (writers.empty()) break;
    logits.resize(writers.size() * n_vocab);
    std::vector<Sequence*> batch;
    for (const Writer& writer : writers) batch.push_back(writer.sequence);
    RESTKV_TRY(engine.decode(batch, tokens, {logits.data(), writers.size(), n_vocab}));
  }
  return answers;
}

}  // namespace restkv
