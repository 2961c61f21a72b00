#include "engine/pieces.h"

#include <algorithm>
#include <utility>

namespace restkv {
namespace {

std::size_t piece_size(const Variant& variant, std::size_t left) {
  const std::size_t piece = variant.options().schedule.interval;
  return left < piece + variant.window() ? left : piece;
}

// The caller's options as one piece sees them.
PrefillOptions options_of_piece(const PrefillOptions& options, std::size_t first, std::size_t count,
                                std::size_t total) {
  PrefillOptions piece;
  piece.cancel = options.cancel;
  if (options.on_progress) {
    piece.on_progress = [&options, first, total](const PrefillProgress& progress) {
      options.on_progress({.tokens_done = first + progress.tokens_done, .tokens_total = total});
    };
  }
  if (options.on_logits && options.logits_from < first + count) {
    piece.logits_from = std::max(options.logits_from, first) - first;
    piece.on_logits = [&options, first](std::size_t at, View2<const float> logits) {
      options.on_logits(first + at, logits);
    };
  }
  return piece;
}

}  // namespace

Result<Sequence::State> read_in_pieces(Engine::State& engine, const Sequence::State& start,
                                       std::span<const Token> tokens, const PrefillOptions& options,
                                       std::vector<float>& last_logits) {
  Sequence::State state{.variant = start.variant,
                        .cache = start.cache.fork(),
                        .next_position = start.next_position,
                        .report = {},
                        .cursors = start.cursors};
  PrefillTimings timings;
  std::vector<float> logits;
  std::size_t peak = 0;
  std::size_t hidden = 0;
  double attention_ms = 0;
  for (std::size_t first = 0; first < tokens.size();) {
    const std::size_t count = piece_size(*state.variant, tokens.size() - first);
    const PrefillOptions piece = options_of_piece(options, first, count, tokens.size());
    // Rows of earlier turns that the pieces so far have let go, and the caller holds until the end.
    const std::size_t held = start.cache.bytes_beyond(state.cache);
    RESTKV_ASSIGN(PrefillOutcome outcome,
                  run_prefill(engine,
                              {.tokens = tokens.subspan(first, count),
                               .first_position = state.next_position,
                               .base = state.next_position > 0 ? &state.cache : nullptr,
                               .base_queries = nullptr,
                               .base_cursors = &state.cursors,
                               .variants = {&state.variant, 1},
                               .options = &piece},
                              logits));
    state.take(outcome, 0, count);
    peak = std::max(peak, state.report.bytes_peak + held);
    hidden = std::max(hidden, state.report.hidden_bytes);
    timings.total_ms += engine.last_prefill.total_ms;
    timings.compress_ms += engine.last_prefill.compress_ms;
    attention_ms += state.report.prefill.attention_ms;
    first += count;
  }
  state.report.bytes_peak = peak;
  state.report.hidden_bytes = hidden;
  state.report.compress_ms = timings.compress_ms;
  state.report.prefill.attention_ms = attention_ms;
  engine.last_prefill = timings;
  last_logits = std::move(logits);
  return state;
}

}  // namespace restkv
