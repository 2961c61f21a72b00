// The replay of a prefill: when a layer is complete, the same tokens pass through it once more,
// behind themselves, in pieces that see the prompt's rows and their own. Policies that need it
// learn what each row was worth to them (Scorer::replay). The hidden states of the replay are as
// large as the prompt's; a piece's rows are let go with the piece.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/clock.h"
#include "engine/prefill_run.h"

namespace restkv {

// Variants whose pieces have the same length share a replay.
void PrefillRun::plan_replays() {
  for (const VariantRun& run : runs_) {
    const std::size_t piece = own_replay_rows(run);
    if (piece == 0) continue;
    if (std::ranges::find(replays_, piece, &Replay::piece) != replays_.end()) continue;
    replays_.push_back({.piece = piece, .hidden = {}});
    replay_rows_ = std::max(replay_rows_, piece);
  }
  replay_positions_.resize(replay_rows_);
  std::iota(replay_positions_.begin(), replay_positions_.end(), end_);
}

std::size_t PrefillRun::own_replay_rows(const VariantRun& run) const {
  const Variant& variant = *run.variant;
  return has(variant.needs(), Needs::kReplay) ? std::min(n_, variant.scorer().replay_piece()) : 0;
}

// What the rows that an earlier turn left were worth; 0 for those of this prefill.
LayerScores PrefillRun::worth_so_far(const VariantRun& run) const {
  LayerScores worth;
  const std::size_t sets =
      static_cast<std::size_t>(config_.n_kv_head) * static_cast<std::size_t>(run.sets());
  const std::size_t sets_of_head = sets / static_cast<std::size_t>(heads_);
  for (std::size_t set = 0; set < sets; ++set) {
    const auto head = static_cast<int>(set / sets_of_head);
    std::vector<float>& own = worth.emplace_back(rows_->rows(head), 0.0F);
    if (job_.base == nullptr) continue;
    const LayerRows& rows = *rows_;
    std::ranges::copy(sets_of_head == 1
                          ? rows.column_sums(head)
                          : rows.head_sums(head, static_cast<int>(set % sets_of_head)),
                      own.begin());
  }
  return worth;
}

Result<void> PrefillRun::replay(int layer) {
  worth_.clear();
  if (replays_.empty()) return {};
  const int sliding = config_.attention_rule(layer).sliding_window;
  if (sliding > 0) rows_->drop_before(end_ - sliding);
  for (const VariantRun& run : runs_) {
    if (has(run.variant->needs(), Needs::kReplay)) {
      worth_.try_emplace(run.variant->score_key(), worth_so_far(run));
    }
  }
  for (Replay& replay : replays_) {
    const Clock::time_point start = Clock::now();
    asking_ms_.clear();
    if (layer == 0) {
      const auto n_embd = static_cast<std::size_t>(config_.n_embd);
      replay.hidden.reserve(n_ * n_embd);
      engine_.model->embed(pass_, job_.tokens, {replay.hidden.data(), n_, n_embd});
    }
    for (std::size_t first = 0; first < n_; first += replay.piece) {
      RESTKV_TRY(replay_piece(replay, layer, first));
    }
    // Methods that replay alike share all but their own measure.
    const double total = ms_since(start);
    double shared = total;
    for (const auto& [key, ms] : asking_ms_) shared -= ms;
    for (VariantRun& run : runs_) {
      if (own_replay_rows(run) != replay.piece) continue;
      run.compress_ms += shared + asking_ms_.at(run.variant->score_key());
    }
    engine_.last_prefill.compress_ms += total;
  }
  return {};
}

Result<void> PrefillRun::replay_piece(Replay& replay, int layer, std::size_t first) {
  const auto n_embd = static_cast<std::size_t>(config_.n_embd);
  const std::size_t count = std::min(replay.piece, n_ - first);
  const std::size_t chunk = std::min(chunk_size(), count);
  for (std::size_t at = 0; at < count; at += chunk) {
    const std::size_t m = std::min(chunk, count - at);
    const View2<float> hidden(replay.hidden.data() + (first + at) * n_embd, m, n_embd);
    const Chunk part{.positions = std::span<const Position>(replay_positions_).subspan(at, m),
                     .appended = m};
    engine_.model->project_qkv(pass_, layer, hidden, part.positions,
                               {q_.data(), m, config_.q_size()}, {k_.data(), m, config_.kv_size()},
                               {v_.data(), m, config_.kv_size()});
    append_rows(part.positions);
    ask_for_worth(replay, layer, part.positions);
    // Of the last layer nothing but its queries is needed.
    if (layer + 1 < config_.n_layer) {
      attend_replay(layer, part);
      engine_.model->finish_layer(pass_, layer, {attended_.data(), m, config_.q_size()}, hidden);
    }
    RESTKV_TRY(after_chunk(layer, n_));
  }
  rows_->drop_from(end_);
  return {};
}

// Densely, whatever pattern the prompt was read with.
void PrefillRun::attend_replay(int layer, const Chunk& chunk) {
  const auto heads = static_cast<std::size_t>(heads_);
  const std::size_t blocks = (chunk.positions.size() + kMaxQueryBlock - 1) / kMaxQueryBlock;
  engine_.threads.for_each_worker(heads * blocks, [&](std::size_t item, std::size_t worker) {
    Block block{.kv_head = item % heads, .start = item / heads * kMaxQueryBlock, .worker = worker};
    engine_.kernels->prefill_attention(block_args(layer, chunk, block));
  });
}

// Shows the queries of a part of a piece to the variants whose replay it is.
void PrefillRun::ask_for_worth(const Replay& replay, int layer,
                               std::span<const Position> positions) {
  const auto n_head = static_cast<std::size_t>(config_.n_head);
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  replay_queries_.reserve(positions.size() * config_.q_size());
  for (std::size_t h = 0; h < n_head; ++h) {
    for (std::size_t i = 0; i < positions.size(); ++i) {
      std::memcpy(replay_queries_.data() + (h * positions.size() + i) * head_dim,
                  q_.data() + i * config_.q_size() + h * head_dim, head_dim * sizeof(float));
    }
  }
  const Observed observed = observe(layer);
  std::vector<std::string_view> asked;
  for (const VariantRun& run : runs_) {
    const Variant& variant = *run.variant;
    if (own_replay_rows(run) != replay.piece) continue;
    if (std::ranges::find(asked, variant.score_key()) != asked.end()) continue;
    asked.push_back(variant.score_key());
    LayerObservation shown = observed.of(run);
    shown.window_queries = {replay_queries_.data(), n_head, positions.size(), head_dim};
    shown.window_positions = positions;
    shown.column_sums = {};
    show_extras(variant, layer, shown);
    const Clock::time_point start = Clock::now();
    replay_layer(variant, shown, *engine_.kernels, engine_.threads, worth_.at(variant.score_key()));
    asking_ms_[variant.score_key()] += ms_since(start);
  }
}

}  // namespace restkv
