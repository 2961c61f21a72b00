#pragma once

// A pattern of sparse prefill at work: which blocks of queries it applies to, what it has chosen
// for the layer in hand, and how much was read.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "restkv/prefill_attention.h"
#include "restkv/result.h"
#include "sparse/pattern.h"

namespace restkv {

class SparsePrefill {
 public:
  // kInvalidArgument as check_prefill_attention() says.
  static Result<SparsePrefill> make(const PrefillAttention& attention);

  // Whether there is a pattern at all.
  [[nodiscard]] bool is_sparse() const { return pattern_ != nullptr; }

  struct Prompt {
    std::size_t tokens = 0;
    std::size_t largest_window = 0;  // of the variants: so many queries are observed at the most
    bool continued = false;          // there are rows of earlier turns
    std::size_t n_head = 1;          // query heads
    std::size_t workers = 1;
  };
  // Once, before the first layer. Throws std::bad_alloc.
  void begin(const Prompt& prompt);
  // Whether any layer may be read sparsely: chunks must begin at multiples of kPatternChunk then.
  [[nodiscard]] bool active() const { return dense_from_ > 0; }

  // Before each layer; `dense` layers ignore the pattern.
  enum class Layer : std::uint8_t { kDense, kSparse };
  void begin_layer(Layer layer);
  // Whether choose() is to be called now, with what `needs` names, for queries from `first` on.
  [[nodiscard]] bool wants(PatternNeeds needs, std::size_t first) const;
  void choose(const PatternInput& input);

  // Whether the block of queries that begins at token `first` reads a part only.
  [[nodiscard]] bool reads_part(std::size_t first) const {
    return layer_ == Layer::kSparse && first < dense_from_;
  }
  // Attention of that block for one KV head. args: as for the dense block.
  // REQUIRES: reads_part(first); one call at a time for each worker.
  struct Block {
    std::size_t kv_head = 0;
    std::size_t first = 0;  // token
    std::size_t worker = 0;
  };
  void attend(const KernelTable& kernels, const PrefillAttentionArgs& args, const Block& block);

  // After each layer.
  void end_layer();
  void add_estimate(double ms) { report_.estimate_ms += ms; }
  void add_attention(double ms) { report_.attention_ms += ms; }
  [[nodiscard]] const PrefillReport& report() const { return report_; }

 private:
  struct Worker {
    std::vector<RowSpan> rows;
    std::size_t rows_read = 0;  // of this layer, over query heads
  };

  const PatternInfo* info_ = nullptr;
  std::unique_ptr<PrefillPattern> pattern_;  // null: dense
  Prompt prompt_;
  std::size_t dense_from_ = 0;  // queries from here on read everything; a multiple of kPatternBlock
  Layer layer_ = Layer::kDense;
  std::unique_ptr<RowChoice> choice_;
  std::vector<Worker> workers_;
  PrefillReport report_;
};

}  // namespace restkv
