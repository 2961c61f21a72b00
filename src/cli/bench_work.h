#pragma once

// What a token costs at the least, counted from the model's tensors and the rows of the cache:
// multiplications and additions (each counts), and bytes that must come from memory.

#include <cstddef>
#include <vector>

#include "restkv/kv_options.h"
#include "restkv/model_info.h"

namespace restkv {

struct PhaseWork {
  double product_flops = 0;    // with weights
  double attention_flops = 0;  // with keys and values
  double bytes = 0;
  [[nodiscard]] double flops() const { return product_flops + attention_flops; }
};

struct BenchWork {
  PhaseWork prefill;
  PhaseWork decode;
  [[nodiscard]] double flops() const { return prefill.flops() + decode.flops(); }
  [[nodiscard]] double attention_flops() const {
    return prefill.attention_flops + decode.attention_flops;
  }
  [[nodiscard]] double bytes() const { return prefill.bytes + decode.bytes; }
};

// Rows that a cache of a model holds, of all layers and KV heads together.
struct RowCounts {
  std::size_t before = 0;
  std::size_t after = 0;
  // Of a prefill: PrefillReport::layer_density. Empty: all of the attention was computed.
  std::vector<double> density = {};
  // Of decode that reads a part: DecodeReport's rows read over rows held, and the summaries by
  // which it chooses, which every step reads whole.
  double read_share = 1;
  std::size_t summary_bytes = 0;
};

// Reads n_token tokens on top of a cache that has seen `depth` tokens and holds rows.before rows.
// Weights and rows are counted once: a machine could do it so. Of the last layer only what the
// last token's logits need is counted; so are the logits themselves.
[[nodiscard]] PhaseWork prefill_work(const ModelInfo& model, const KvOptions& kv,
                                     std::size_t n_token, std::size_t depth, const RowCounts& rows);

// n_token steps; every step reads all weights, and all rows held or rows.read_share of them. The
// arithmetic of choosing rows is not counted.
[[nodiscard]] PhaseWork decode_work(const ModelInfo& model, const KvOptions& kv,
                                    std::size_t n_token, const RowCounts& rows);

}  // namespace restkv
