#pragma once

// What the schedules of a decode step's sequences ask for: which attention is watched, which rows
// go after the step. Nothing of a sequence changes before apply(), which cannot fail.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "engine/compress.h"
#include "engine/state.h"
#include "restkv/result.h"

namespace restkv {

class StepSchedule {
 public:
  // The sequences must outlive the object.
  StepSchedule(Engine::State& engine, std::span<Sequence::State* const> sequences);

  // Where decode attention writes the logits of a KV head's rows; data is null where nobody
  // watches.
  struct Logits {
    float* data = nullptr;  // [group, rows of the head]
    std::size_t stride = 0;
  };
  // The layer's new rows are in the caches. Throws std::bad_alloc.
  void begin_layer(int layer);
  [[nodiscard]] Logits logits(std::size_t sequence, std::size_t head) const;
  // The layer's attention is done. q: [sequences, n_head * head_dim], after RoPE.
  void end_layer(int layer, View2<const float> q);
  // The layer's result: [sequences, n_embd]. Without it nobody knows its length (ScoreScale).
  void note_hidden(int layer, View2<const float> hidden);

  // Decides what goes, once all layers are done; the caches still hold everything, and may own more
  // of their pages than before. kOutOfMemory. Throws std::bad_alloc.
  Result<void> choose();
  // Drops it, and takes note of the step.
  void apply();

 private:
  // One sequence's part in the step.
  struct Watch {
    Sequence::State* sequence = nullptr;
    bool due = false;       // the schedule acts after this step
    bool compress = false;  // and more was seen than the budget
    bool sums = false;      // attention is added to the column sums
    bool newest = false;    // the score wants the step's own attention
    Variant::BudgetRows budget;
    std::vector<KeepSets> keep;                    // [layers]; empty where everything stays
    std::vector<std::vector<float>> weights;       // [layers * sets][rows of the set], when watched
    std::vector<Logits> logits;                    // [KV heads], of the layer in hand
    std::vector<std::vector<std::uint32_t>> held;  // [sets] their rows there, if of query heads
    std::vector<double> output_norms;              // [layers]
    PolicyCursors cursors;                         // after the step; empty without Needs::kCursor
    double compress_ms = 0;

    [[nodiscard]] bool watched() const { return sums || newest; }
    // Of a KV head (CacheShape::sets).
    [[nodiscard]] std::size_t sets() const {
      return static_cast<std::size_t>(sequence->cache.shape().sets);
    }
  };
  // What one layer shows to a scorer, with the memory behind it.
  struct Shown {
    std::vector<std::vector<Position>> positions;
    std::vector<std::vector<float>> sums;
    std::vector<HeadRows> heads;
    std::vector<std::span<const float>> sum_views, newest_views;
    std::vector<Position> query_positions;
    AlignedArray<float> queries;
    LayerObservation observation;
  };

  Result<void> choose(Watch& watch);
  Result<void> compete(Watch& watch);
  void show(const Watch& watch, int layer, Shown& shown);
  Result<void> show_rows(const Watch& watch, int layer, Shown& shown);
  void weigh(Watch& watch, int layer, std::size_t head) const;
  Result<void> make_writable(Watch& watch);

  Engine::State& engine_;
  const ModelConfig& config_;
  std::vector<Watch> watches_;
  AlignedArray<float> logits_;          // of the layer in hand
  std::optional<LayerRows> dense_;      // the layer that is scored
  AlignedArray<float> output_columns_;  // its [n_head, head_dim, n_embd], or empty
  std::vector<std::size_t> dropped_;    // [sequences, layers, KV heads] rows, of all its sets
};

}  // namespace restkv
