#pragma once

// What the author of an eviction policy sees. A policy answers one question: what is each token
// worth to each KV head? How many tokens stay is the allocator's business (allocator.h); which rows
// go is decided by the engine from both. To add one: CONTRIBUTING.md, "A new policy".

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "restkv/granularity.h"
#include "restkv/params.h"
#include "restkv/result.h"
#include "restkv/types.h"
#include "restkv/views.h"

namespace restkv {

struct KernelTable;  // kernels/kernels.h
class Threads;       // base/threads.h

// What a scorer has to be shown. Only what is named is computed.
enum class Needs : std::uint8_t {
  kNothing = 0,
  kWindowQueries = 1,     // LayerObservation::window_queries
  kOutputProjection = 2,  // LayerObservation::output_factors
  kColumnSums = 4,        // LayerObservation::column_sums
  kOutputColumns = 8,     // LayerObservation::output_columns
  kQueryStatistics = 16,  // LayerObservation::query_statistics and rotation
  kReplay = 32,           // Scorer::replay() and LayerObservation::replay_worth
  kCursor = 64,           // Scorer::cut() and LayerObservation::cursors
};
[[nodiscard]] constexpr Needs operator|(Needs a, Needs b) {
  return static_cast<Needs>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool has(Needs all, Needs one) {
  return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0;
}

// Rows of one KV head, in order of position. Keys carry RoPE for their original positions.
struct HeadRows {
  const std::byte* keys = nullptr;      // [rows, head_dim] of `type`, dense
  const std::byte* values = nullptr;    // same shape
  KvType type = KvType::kF16;           // kF32 or kF16
  std::span<const Position> positions;  // [rows], strictly increasing
};

// How the model turns q.k into attention weights: softmax(cap(scale * q.k)) over visible keys.
struct AttentionRule {
  float scale = 1.0F;      // usually 1 / sqrt(head_dim)
  float softcap = 0.0F;    // x -> softcap * tanh(x / softcap); 0 = none
  int sliding_window = 0;  // a query at p sees keys at positions > p - sliding_window; 0 = all
};

// How queries and keys of a layer are turned: the pair i of an element vector at position p by the
// angle frequencies[i] * p, and both elements are multiplied by `magnitude`.
struct Rotation {
  std::span<const double> frequencies;  // [rotated elements / 2], radians for each position
  double magnitude = 1.0;
  bool adjacent = false;  // pairs (2i, 2i + 1); else (i, i + number of pairs)
};

// Mean and covariance of the queries before RoPE, per query head, over the tokens of the newest
// prefill at positions of at least kStatisticsStart.
struct QueryStatistics {
  std::size_t count = 0;            // queries; 0: means and covariances are 0
  View2<const double> means;        // [n_head, head_dim]
  View3<const double> covariances;  // [n_head, head_dim, head_dim], divisor `count`
};
// Queries of the first positions are far from all others, and left out.
inline constexpr Position kStatisticsStart = 4;

// What a layer shows to a scorer once its prefill is done. Views are valid during the call only.
// KV heads may hold different numbers of rows when a compressed sequence is continued; query head
// h reads KV head h / group. With Granularity::kQueryHead every query head is shown as a KV head of
// its own, with the rows that it holds: n_kv_head is n_head.
struct LayerObservation {
  int layer = 0;
  int n_layer = 0;
  int n_head = 0;
  int n_kv_head = 0;
  int head_dim = 0;
  AttentionRule attention;
  std::span<const HeadRows> heads;    // [n_kv_head]
  View3<const float> window_queries;  // [n_head, window, head_dim], after RoPE: the newest queries
  std::span<const Position> window_positions;  // [window], strictly increasing
  // [n_head, head_dim, head_dim], upper triangular: R_h with |W_o^h x| = |R_h x| for every x.
  View3<const float> output_factors;
  // [n_kv_head][rows]: attention that each row has received so far, summed over all queries since
  // it came, mean over the query heads of the group.
  std::span<const std::span<const float>> column_sums;
  // [n_head, head_dim, hidden]: row i of head h is column i of W_o^h, so W_o^h x is the sum of
  // x[i] * row i.
  View3<const float> output_columns = {};
  QueryStatistics query_statistics = {};
  Rotation rotation = {};
  // [n_kv_head][rows]: attention that the newest query pays to each row, mean over the query heads
  // of the group. There while generating, for a policy that sets newest_query_only, which then
  // reads it in place of queries and keys; else empty.
  std::span<const std::span<const float>> newest_attention = {};
  // [n_kv_head][rows]: the largest that replay() made of each row, over the replays of this prefill
  // and of earlier turns; 0 where there was none.
  std::span<const std::span<const float>> replay_worth = {};
  // [n_kv_head]: what cut() said when the head was scored last, in a turn or step before; 0 or
  // empty: it never was.
  std::span<const Position> cursors = {};

  [[nodiscard]] int group() const { return n_head / n_kv_head; }
};

// Sees a scorer's intermediate arrays by name; for tests and for looking inside. Called from one
// thread at a time.
class ScoreTrace {
 public:
  // index: the query head or KV head that the array belongs to, or -1.
  virtual void array(std::string_view name, int index, std::span<const float> values) = 0;
  virtual ~ScoreTrace() = default;
};

// Where a policy stands that goes over its rows from cut to cut.
struct PolicyCut {
  Position cursor = 0;    // the row at which the next cut begins, or the first after it
  std::size_t spare = 0;  // rows of the budget that this cut leaves empty
};

// What the score is asked for.
struct ScoreRequest {
  std::size_t budget = 0;  // nominal rows per KV head and layer, protected ones included
  std::size_t window = 0;  // the newest `window` rows count as the observation window (the engine
                           // shows at most that many queries: a short turn has fewer)
  std::uint64_t seed = 0;
  GroupScore group_score = GroupScore::kMean;  // for PolicyInfo::scores_by_group
  const KernelTable* kernels = nullptr;
  const Threads* threads = nullptr;
  ScoreTrace* trace = nullptr;  // may be null
};

// Says what each token is worth. Stateless between layers; several threads may call one object.
class Scorer {
 public:
  // Fills scores[h][row] for every KV head h; larger = keep, and equal scores are broken by the
  // lower position. Rows that the engine protects may hold anything finite. Deterministic: same
  // input, same bits, for any number of threads.
  // REQUIRES: scores[h].size() == layer.heads[h].positions.size(); everything in the policy's
  // `needs` is there; at least one row before the window.
  virtual void score(const LayerObservation& layer, const ScoreRequest& request,
                     std::span<const std::span<float>> scores) const = 0;
  // For Needs::kReplay. Before a layer is scored, the tokens of the prefill are read once more,
  // behind themselves and in pieces of replay_piece() tokens; each sees all rows held and those of
  // its own piece. `layer` shows queries of a piece as window_queries, and behind the rows that are
  // to be scored those of the piece so far. Raises worth[h][row] to what the row is worth to these
  // queries, if that is more. Deterministic as score().
  // REQUIRES: worth[h].size() <= rows of head h; what else is in `needs` is there.
  virtual void replay(const LayerObservation& /*layer*/, const ScoreRequest& /*request*/,
                      std::span<const std::span<float>> /*worth*/) const {}
  [[nodiscard]] virtual std::size_t replay_piece() const { return 2048; }
  // For Needs::kCursor: where the scores that score() gives to head h leave the policy. The engine
  // keeps the cursor with the sequence: every turn, piece of a prompt and acting step is one cut.
  // `spare` counts on top of what earlier ones left; a first prompt fills its budget, and so does
  // an allocator for which all layers compete. REQUIRES: as score().
  [[nodiscard]] virtual PolicyCut cut(const LayerObservation& /*layer*/,
                                      const ScoreRequest& /*request*/, std::size_t /*h*/) const {
    return {};
  }
  virtual ~Scorer() = default;
};

// Rows that are kept whatever their score.
struct Protection {
  int sinks = 0;        // rows at positions 0 .. sinks - 1
  bool window = false;  // the newest `window` rows
};

// A policy's entry in the table. Constant data.
struct PolicyInfo {
  std::string_view name;     // what a user writes; a promise: changed behaviour = new name
  std::string_view summary;  // one line
  std::string_view paper;    // citation
  Needs needs = Needs::kNothing;
  Protection paper_protection = {};      // what `--kv-protect paper` protects
  bool keeps_all = false;                // no budget: every row stays
  bool scores_depend_on_budget = false;  // else one call serves several budgets
  bool even_window = false;              // the window must be even
  // Both make a step of decode cheap under Schedule::kCap. reads_rows = false: scores come from
  // positions and column sums alone, and HeadRows::keys and values may be null; beside what `inner`
  // reads.
  bool reads_rows = true;
  bool newest_query_only = false;  // of window_queries the last, or newest_attention
  // A KV head's score is the mean over the query heads of its group, and the largest of them where
  // ScoreRequest::group_score says so.
  bool scores_by_group = false;
  std::span<const ParamInfo> params = {};
  // REQUIRES: values were parsed against `params`.
  std::unique_ptr<Scorer> (*make)(const ParamValues& values) = nullptr;
  // Options that do not go together, or not with a model of `n_layer` layers (0: not known yet).
  // Null: any do. REQUIRES: as make.
  Result<void> (*check)(const ParamValues& values, int n_layer) = nullptr;
  // The policy whose scores this one works on: what that one needs and depends on holds here as
  // well, and what it protects in its publication is what is protected here. Null: none. REQUIRES:
  // as make.
  const PolicyInfo* (*inner)(const ParamValues& values) = nullptr;
  // True when attention is to see the rows that are kept side by side, not where they were. Null:
  // no. REQUIRES: as make.
  bool (*renumbers)(const ParamValues& values) = nullptr;
};

// All policies, sorted by name. Generated from the files of src/policies.
std::span<const PolicyInfo* const> all_policies();
// Null when there is none of that name.
const PolicyInfo* find_policy(std::string_view name);

}  // namespace restkv
