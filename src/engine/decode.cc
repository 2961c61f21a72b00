// Batched decode: one token for each sequence passes through all layers. The weights are read once
// for all sequences; attention reads each sequence's own pages. A long cache is split into segments
// of a fixed number of pages, never by the number of threads, and the parts are merged in order, so
// a row's result depends neither on its company nor on the threads.

#include "engine/decode.h"

#include <algorithm>
#include <functional>
#include <new>

#include "base/aligned.h"
#include "engine/renumber.h"
#include "engine/sparse_decode.h"
#include "engine/step_schedule.h"

namespace restkv {
namespace {

constexpr std::size_t kSegmentPages = 64;  // 1024 rows
constexpr std::size_t kManyRows = 4096;    // below, waking the threads takes longer than the work

// One sequence's KV head and the segments of its cache.
struct HeadWork {
  std::size_t sequence = 0;
  std::size_t head = 0;
  KvCache::HeadPages pages;
  std::size_t first_segment = 0;  // among all segments of the step
  std::size_t segments = 0;
};

class DecodeStep {
 public:
  DecodeStep(Engine::State& engine, std::span<Sequence::State* const> sequences)
      : engine_(engine),
        sequences_(sequences),
        config_(engine.model->config()),
        pass_(engine.pass(PassProducts::Phase::kDecode, 1)),
        sparse_(engine, sequences),
        schedule_(engine, sequences) {}

  // On success every sequence has passed its token; on failure only new rows are there.
  Result<void> run(std::span<const Token> tokens, View2<float> logits);

 private:
  void append(int layer);
  void attend(int layer);
  void renumber(int layer);
  void for_each_head(int layer, const std::function<void(std::size_t)>& body);

  Engine::State& engine_;
  std::span<Sequence::State* const> sequences_;
  const ModelConfig& config_;
  Pass pass_;
  SparseReads sparse_;
  StepSchedule schedule_;
  std::vector<Position> positions_;
  AlignedArray<float> hidden_, q_, k_, v_, attended_, partials_;
  std::vector<HeadWork> work_;
  std::vector<RenumberedPages> renumbered_;  // [work], if any sequence renumbers
  std::vector<HeadRead> reads_;              // [work]
  std::vector<std::size_t> owner_;           // [segments] index into work_
};

Result<void> DecodeStep::run(std::span<const Token> tokens, View2<float> logits) {
  const std::size_t n = sequences_.size();
  const auto n_embd = static_cast<std::size_t>(config_.n_embd);
  for (const Sequence::State* sequence : sequences_) positions_.push_back(sequence->next_position);
  hidden_.reserve(n * n_embd);
  q_.reserve(n * config_.q_size());
  attended_.reserve(n * config_.q_size());
  k_.reserve(n * config_.kv_size());
  v_.reserve(n * config_.kv_size());
  const View2<float> hidden(hidden_.data(), n, n_embd);
  engine_.model->hold_packed(engine_.threads);  // a prefill that was interrupted may have let go
  engine_.model->embed(pass_, tokens, hidden);
  for (int layer = 0; layer < config_.n_layer; ++layer) {
    engine_.model->project_qkv(pass_, layer, hidden, positions_, {q_.data(), n, config_.q_size()},
                               {k_.data(), n, config_.kv_size()},
                               {v_.data(), n, config_.kv_size()});
    append(layer);
    schedule_.begin_layer(layer);
    attend(layer);
    schedule_.end_layer(layer, {q_.data(), n, config_.q_size()});
    engine_.model->finish_layer(pass_, layer, {attended_.data(), n, config_.q_size()}, hidden);
    schedule_.note_hidden(layer, hidden);
  }
  engine_.model->logits(pass_, hidden, logits);
  RESTKV_TRY(check_logits(logits));
  RESTKV_TRY(schedule_.choose());
  sparse_.commit();  // before rows go, and what was read of their blocks
  schedule_.apply();
  return {};
}

void DecodeStep::append(int layer) {
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    for (int h = 0; h < config_.n_kv_head; ++h) {
      const std::size_t at = s * config_.kv_size() + static_cast<std::size_t>(h) * head_dim;
      sequences_[s]->cache.append(*engine_.kernels, layer, h, positions_[s], k_.data() + at,
                                  v_.data() + at);
    }
  }
}

// Where a sequence asks for it, the rows are read side by side.
void DecodeStep::renumber(int layer) {
  const auto renumbers = [&](const HeadWork& work) {
    return sequences_[work.sequence]->variant->renumbers();
  };
  if (std::ranges::none_of(work_, renumbers)) return;
  renumbered_.resize(work_.size());
  for (std::size_t i = 0; i < work_.size(); ++i) {
    if (!renumbers(work_[i])) continue;
    renumbered_[i].prepare(*engine_.kernels, *engine_.model, sequences_[work_[i].sequence]->cache,
                           layer, static_cast<int>(work_[i].head));
  }
  engine_.threads.for_each(work_.size(), [&](std::size_t i) {
    HeadWork& work = work_[i];
    if (!renumbers(work)) return;
    renumbered_[i].turn(*engine_.kernels, sequences_[work.sequence]->cache.shape(), work.pages);
  });
}

// For what takes a moment for each page: over long caches by all threads.
void DecodeStep::for_each_head(int layer, const std::function<void(std::size_t)>& body) {
  std::size_t rows = 0;
  for (const Sequence::State* sequence : sequences_) rows += sequence->cache.rows(layer, 0);
  if (rows < kManyRows) {
    for (std::size_t i = 0; i < work_.size(); ++i) body(i);
  } else {
    engine_.threads.for_each(work_.size(), body);
  }
}

void DecodeStep::attend(int layer) {
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const auto group = static_cast<std::size_t>(config_.group());
  const auto n_kv_head = static_cast<std::size_t>(config_.n_kv_head);
  const AttentionRule rule = config_.attention_rule(layer);
  const auto query_of = [&](const HeadWork& work) {
    return work.sequence * config_.q_size() + work.head * group * head_dim;
  };
  work_.resize(sequences_.size() * n_kv_head);
  for (std::size_t i = 0; i < work_.size(); ++i) {
    HeadWork& work = work_[i];
    work.sequence = i / n_kv_head;
    work.head = i % n_kv_head;
    // Here a lack of memory can still be told; in a worker it would end the process.
    const std::size_t rows =
        sequences_[work.sequence]->cache.rows(layer, static_cast<int>(work.head));
    work.pages.pages.reserve(pages_for_rows(rows + kPageRows - 1));
  }
  reads_.clear();
  for (HeadWork& work : work_) {
    reads_.push_back({.sequence = work.sequence,
                      .head = work.head,
                      .q = q_.data() + query_of(work),
                      .pages = &work.pages});
  }
  sparse_.plan(layer, reads_);
  for_each_head(layer, [&](std::size_t i) {
    HeadWork& work = work_[i];
    const Sequence::State& sequence = *sequences_[work.sequence];
    work.pages.pages.clear();
    // A choice lists what it takes, unless it is to be made among keys that are turned.
    if (sparse_.narrows(i) && !sequence.variant->renumbers()) return;
    sequence.cache.pages(layer, static_cast<int>(work.head), work.pages);
  });
  renumber(layer);
  sparse_.narrow();
  owner_.clear();
  for (std::size_t i = 0; i < work_.size(); ++i) {
    HeadWork& work = work_[i];
    work.first_segment = owner_.size();
    work.segments = (work.pages.pages.size() + kSegmentPages - 1) / kSegmentPages;
    owner_.insert(owner_.end(), work.segments, i);
  }
  const std::size_t partial_size = decode_partial_size(group, head_dim);
  partials_.reserve(owner_.size() * partial_size);

  engine_.threads.for_each(owner_.size(), [&](std::size_t segment) {
    const HeadWork& work = work_[owner_[segment]];
    const std::size_t first = (segment - work.first_segment) * kSegmentPages;
    const std::size_t count = std::min(kSegmentPages, work.pages.pages.size() - first);
    const CacheShape& shape = sequences_[work.sequence]->cache.shape();
    const StepSchedule::Logits watched = schedule_.logits(work.sequence, work.head);
    const std::size_t first_row = first == 0 ? 0 : first * kPageRows - work.pages.skip_rows;
    engine_.kernels->decode_attention(
        {.q = q_.data() + query_of(work),
         .group = group,
         .head_dim = head_dim,
         .pages = std::span<const PageView>(work.pages.pages).subspan(first, count),
         .skip_rows = first == 0 ? work.pages.skip_rows : 0,
         .type_k = shape.type_k,
         .type_v = shape.type_v,
         .rule = rule,
         .partial = partials_.data() + segment * partial_size,
         .logits = watched.data == nullptr ? nullptr : watched.data + first_row,
         .logit_stride = watched.stride});
  });
  for_each_head(layer, [&](std::size_t i) {
    const HeadWork& work = work_[i];
    merge_decode(partials_.data() + work.first_segment * partial_size, work.segments, group,
                 head_dim, attended_.data() + query_of(work));
  });
}

}  // namespace

Result<void> run_decode(Engine::State& engine, std::span<Sequence::State* const> sequences,
                        std::span<const Token> tokens, View2<float> logits) {
  const auto take_back = [&](Error error) {
    for (Sequence::State* sequence : sequences) {
      sequence->cache.drop_from(sequence->next_position);
      sequence->summaries.clear();  // they may know of a row that is gone
    }
    return error;
  };
  try {
    for (Sequence::State* sequence : sequences) {
      const auto reserved = sequence->cache.reserve_row(sequence->next_position);
      if (!reserved.ok()) return take_back(reserved.error());
    }
    const auto done = DecodeStep(engine, sequences).run(tokens, logits);
    if (!done.ok()) return take_back(done.error());
  } catch (const std::bad_alloc&) {
    return take_back({ErrorCode::kOutOfMemory, "no memory for a decode step"});
  }
  return {};
}

}  // namespace restkv
