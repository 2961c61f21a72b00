#pragma once

// The part of a decode step that decides what is read: for each KV head of a layer the pages that
// its sequence's method picks (sparse/selection_plan.h), or all of them.

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "engine/state.h"
#include "restkv/result.h"
#include "sparse/selection_plan.h"

namespace restkv {

// One KV head of one sequence in a step.
struct HeadRead {
  std::size_t sequence = 0;
  std::size_t head = 0;
  const float* q = nullptr;             // [group, head_dim], after RoPE
  KvCache::HeadPages* pages = nullptr;  // see SparseReads
};

class SparseReads {
 public:
  SparseReads(Engine::State& engine, std::span<Sequence::State* const> sequences);

  // Finds the heads that read a part of their rows. Throws std::bad_alloc.
  // REQUIRES: pages->pages of each has room for all pages of its head.
  void plan(int layer, std::span<const HeadRead> reads);
  // Whether narrow() will choose for reads[i] of the last plan().
  [[nodiscard]] bool narrows(std::size_t i) const { return narrows_[i]; }
  // Leaves in their lists the pages that those heads read. A list is all pages of the head, or
  // empty: then it is filled from the cache, which is touched only where it is read.
  // The order of the work and the threads do not change the choice; a head's choice depends on its
  // rows and its query alone.
  // REQUIRES: `reads` of the last plan() is still there.
  void narrow();
  // Adds what was read to the sequences' counts: the step has succeeded.
  void commit();

 private:
  struct Choice {
    const HeadRead* read = nullptr;
    const KvCache* cache = nullptr;
    int layer = 0;
    const SelectionPlan* plan = nullptr;
    BlockSummaries* summaries = nullptr;
    KvType type_k = KvType::kF16;
    std::size_t summarised = 0;
    std::size_t picked = 0;
    std::vector<float> scores;
    std::vector<std::int32_t> keys;
    std::vector<std::uint32_t> blocks;
  };
  bool choose(int layer, const HeadRead& read);
  void narrow(Choice& choice, float* scratch) const;

  Engine::State& engine_;
  std::span<Sequence::State* const> sequences_;
  std::size_t group_;
  std::vector<Choice> choices_;  // the first n_choices_ are in use
  std::size_t n_choices_ = 0;
  std::vector<bool> narrows_;                 // [reads] of the last plan()
  std::vector<AlignedArray<float>> scratch_;  // per worker
  std::vector<DecodeReads> counts_;           // [sequences] of this step
};

// Whether the options fit the model: a table of block sizes must be this model's. kInvalidArgument.
Result<void> check_decode_options(const ModelInfo& model, std::span<const KvOptions> variants);

// What a sequence's reports say of its decoding.
DecodeReport decode_report(const Sequence::State& sequence);

}  // namespace restkv
