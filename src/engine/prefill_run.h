#pragma once

// One prefill at work. prefill.cc passes the prompt through the layers; prefill_attend.cc and
// prefill_sums.cc are the attention of a chunk of it; prefill_compress.cc is what happens when a
// layer is complete: every variant takes what it keeps; prefill_prefix.cc shares the beginning of a
// prompt with others.

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "engine/compress.h"
#include "engine/hidden_states.h"
#include "engine/layer_pool.h"
#include "engine/query_heads.h"
#include "engine/query_statistics.h"
#include "engine/shared_prefix.h"
#include "engine/sparse_prefill.h"
#include "engine/state.h"

namespace restkv {

// Everything that one variant gathers on the way.
struct VariantRun {
  const Variant* variant = nullptr;
  Variant::BudgetRows budget;
  KvCache cache;
  QueryRing queries;
  std::unique_ptr<LayerPool> pool = nullptr;  // where all layers compete and rows have to go
  std::size_t peak_bytes = 0;
  double compress_ms = 0;
  PolicyCursors cursors = {};

  [[nodiscard]] int sets() const { return cache.shape().sets; }
};

class PrefillRun {
 public:
  PrefillRun(Engine::State& engine, const PrefillJob& job, SparsePrefill sparse);
  Result<PrefillOutcome> run(std::vector<float>& last_logits);

 private:
  Result<void> run_layer(int layer);
  Result<void> fill_rows(int layer);
  void project(int layer, std::size_t first, View2<const float> hidden);
  void embed();
  void run_chunk(int layer, std::size_t first, std::size_t count);
  Result<void> choose_by_last_queries(int layer);
  [[nodiscard]] PatternInput pattern_input(int layer, std::size_t first, std::size_t count);
  [[nodiscard]] std::size_t chunk_size() const;
  // Tokens that pass through a layer together.
  struct Chunk {
    std::span<const Position> positions;
    std::size_t appended = 0;  // rows of these and of later tokens that are there already
  };
  // A work item of attention, and the rows that its queries see.
  struct Block {
    std::size_t kv_head = 0;
    std::size_t start = 0;              // its first query, of the chunk's
    std::size_t most = kMaxQueryBlock;  // queries
    std::size_t worker = 0;
    std::uint32_t begin[kMaxQueryBlock] = {};
    std::uint32_t end[kMaxQueryBlock] = {};
  };
  PrefillAttentionArgs block_args(int layer, const Chunk& chunk, Block& block);
  void append_rows(std::span<const Position> positions);
  void attend(int layer, std::size_t first, std::size_t count);
  void attend_block(std::size_t token, const Block& block, const PrefillAttentionArgs& args);
  // Attention with the sums of what each row receives (prefill_sums.cc).
  struct SumScratch {
    AlignedArray<float> softmax;  // as PrefillAttentionArgs
    AlignedArray<float> weights;  // kept by attention
  };
  void reserve_sums();
  [[nodiscard]] std::size_t tokens_kept() const;
  void attend_and_sum(int layer, const Chunk& chunk, std::size_t first);
  void sum_block(int layer, const Chunk& chunk, std::size_t first, Block block,
                 std::span<float> sums);
  void sum_columns_by_query_head(int layer, const Chunk& chunk, std::size_t first);
  [[nodiscard]] bool is_attended(int layer, std::size_t token) const;
  [[nodiscard]] float* softmax_of(const Block& block, std::size_t tokens);
  // The text read once more (prefill_replay.cc).
  struct Replay {
    std::size_t piece = 0;       // tokens
    AlignedArray<float> hidden;  // [n, n_embd]
  };
  void plan_replays();
  Result<void> replay(int layer);
  Result<void> replay_piece(Replay& replay, int layer, std::size_t first);
  void attend_replay(int layer, const Chunk& chunk);
  void ask_for_worth(const Replay& replay, int layer, std::span<const Position> positions);
  [[nodiscard]] LayerScores worth_so_far(const VariantRun& run) const;
  // Rows that the longest piece of the variant's own replay takes.
  [[nodiscard]] std::size_t own_replay_rows(const VariantRun& run) const;
  void keep_window_queries(std::size_t first, std::size_t count);
  void count_queries(std::size_t first, std::size_t count);
  void show_extras(const Variant& variant, int layer, LayerObservation& observation);
  // The layer in hand: as its rows are held, and with every query head by itself.
  struct Observed {
    LayerObservation plain;
    std::unique_ptr<QueryHeadView> by_query_head = nullptr;  // null: no variant asks for it
    [[nodiscard]] const LayerObservation& of(const VariantRun& run) const {
      return run.sets() > 1 && by_query_head ? by_query_head->layer() : plain;
    }
  };
  [[nodiscard]] Observed observe(int layer);
  Result<void> compress(int layer);
  // What a variant sees of the layer, with the memory behind it.
  struct Shown {
    LayerObservation observation;
    AlignedArray<float> queries;
  };
  // Scores of the layer in hand, for variants that share them, and what making them took.
  struct Scored {
    LayerScores scores;
    double ms = 0;
  };
  using ScoreCache = std::map<std::string, Scored>;
  void show(const Variant& variant, const LayerObservation& plain, Shown& shown);
  const LayerScores& score(VariantRun& run, const LayerObservation& plain, ScoreCache& scored);
  Result<void> take(VariantRun& run, int layer, const LayerObservation& plain, ScoreCache& scored);
  Result<void> compete(VariantRun& run, int layer, const LayerObservation& plain,
                       ScoreCache& scored);
  [[nodiscard]] std::unique_ptr<LayerPool> make_pool(const VariantRun& run) const;
  Result<void> store(VariantRun& run, int layer, const LayerObservation& observation,
                     const KeepSets* keep);
  [[nodiscard]] std::span<const float> column_of(const VariantRun& run, std::size_t set) const;
  void count_bytes(VariantRun& run) const;
  void note_queries(VariantRun& run, int layer);
  Result<void> all_logits();
  Result<void> logits_of_the_last(std::vector<float>& last_logits);
  [[nodiscard]] Result<void> check_cancel() const;
  Result<void> after_chunk(int layer, std::size_t done);
  [[nodiscard]] bool only_last_row(int layer) const;
  void begin_prefix();
  [[nodiscard]] std::size_t chunk_end(std::size_t first) const;
  void load_prefix(int layer);
  Result<void> record_prefix(std::size_t done, double ms);
  void end_prefix();
  [[nodiscard]] std::size_t prefix_bytes(const VariantRun& run) const;
  [[nodiscard]] KvReport report(const VariantRun& run) const;

  Engine::State& engine_;
  const PrefillJob& job_;
  const ModelConfig& config_;
  const std::size_t n_;
  const Position end_;
  // Heads of rows_, and the query heads that read each. KV heads and their groups, but where query
  // heads hold different rows of earlier turns: then each query head has rows of its own here.
  const int heads_;
  const std::size_t group_;
  Pass pass_;
  SparsePrefill sparse_;
  SharedPrefix* prefix_ = nullptr;                 // null: this prompt shares nothing
  std::unique_ptr<SharedPrefix::State> recorded_;  // when this prefill is to fill it
  std::size_t begin_ = 0;                          // tokens that are not read again
  std::size_t appended_ = 0;  // tokens of this prefill whose rows the layer in hand has

  std::vector<VariantRun> runs_;
  bool with_column_sums_ = false;  // of each of heads_
  bool with_columns_ = false;      // its rows carry a number, whatever it is
  bool with_head_sums_ = false;    // of each query head of a KV head
  bool with_head_columns_ = false;
  bool renumbers_ = false;  // of importance only for the one variant that continues a sequence
  bool with_query_statistics_ = false;
  std::size_t window_ = 0;  // queries that are kept for scoring

  HiddenStates hidden_;
  std::optional<LayerRows> rows_;
  std::vector<Position> positions_;           // [n]
  AlignedArray<float> q_, k_, v_, attended_;  // of one chunk
  AlignedArray<float> window_queries_;        // [n_head, window, head_dim]
  AlignedArray<float> softmax_;               // of a chunk's queries, for sums of query heads
  AlignedArray<float> block_sums_;            // of some blocks of queries, [rows] each
  std::vector<SumScratch> sum_scratch_;       // per worker
  std::vector<AlignedArray<float>> scratch_;  // per worker
  std::optional<QueryAccumulator> queries_;   // if a policy wants their statistics
  RopeFrequencies rotation_;                  // of the layer, then as well
  AlignedArray<float> output_columns_;        // [n_head, head_dim, n_embd] or empty
  int output_columns_layer_ = -1;             // whose they are
  std::vector<Replay> replays_;               // one for each length of piece
  std::size_t replay_rows_ = 0;               // tokens of the longest piece
  std::vector<Position> replay_positions_;    // [replay_rows_]
  AlignedArray<float> replay_queries_;        // [n_head, tokens of a chunk, head_dim]
  std::map<std::string, LayerScores> worth_;  // of the layer in hand, by score_key()
  std::map<std::string, double> asking_ms_;   // of the replay in hand, what each measure took
  std::vector<HeadRows> head_views_;
  std::vector<std::span<const float>> sum_views_, worth_views_;
};

}  // namespace restkv
