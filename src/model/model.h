#pragma once

// The forward pass of one layer, in plain functions over buffers; knows no policy and no cache.
// What happens between project_qkv() and finish_layer() - the cache and attention - is the
// engine's.

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/packed_parts.h"
#include "model/rope.h"
#include "restkv/model_info.h"
#include "restkv/result.h"
#include "restkv/types.h"
#include "restkv/views.h"
#include "tensor/gguf_file.h"
#include "tensor/linear.h"

namespace restkv {

// How the products of a pass are carried out.
struct PassProducts {
  enum class Phase : std::uint8_t { kPrefill, kDecode };
  Phase phase = Phase::kPrefill;
  ProductChoice choice = ProductChoice::kAuto;
  std::size_t n_token = 0;  // of the whole prefill, not of a chunk

  [[nodiscard]] Product of(const Linear& linear) const {
    if (choice == ProductChoice::kAuto && linear.is_packed()) return Product::kPacked;
    return phase == Phase::kDecode ? decode_product(choice) : prefill_product(choice, n_token);
  }
};

// Buffers of a pass; grow to the largest chunk and are reused. One pass at a time uses one.
struct PassBuffers {
  LinearScratch linear;
  AlignedArray<float> normed;  // [chunk, n_embd]
  AlignedArray<float> gate;    // [chunk, n_ff]
  AlignedArray<float> up;      // [chunk, n_ff]
  AlignedArray<float> branch;  // [chunk, n_embd]
  RopeAngles angles;
};

// Everything a pass works with.
struct Pass {
  const KernelTable& kernels;
  const Threads& threads;
  PassProducts products;
  PassBuffers& buffers;
};

// One layer's weights; empty where the family has none.
struct LayerWeights {
  std::vector<float> attention_norm, query_norm, key_norm, attention_post_norm;
  std::vector<float> mlp_norm, mlp_post_norm;
  Linear query, key, value, output;
  Linear gate, up, down;

  [[nodiscard]] std::array<const Linear*, 7> matrices() const {
    return {&query, &key, &value, &output, &gate, &up, &down};
  }
};

class Model {
 public:
  // kUnsupported, kCorrupt (missing tensor, wrong shape; names what and where), kOutOfMemory.
  static Result<std::unique_ptr<Model>> load(const std::shared_ptr<const GgufFile>& file,
                                             const RopeOverrides& overrides);

  // Copies the weights whose type has a packed form (kernels/packed.h), so that both prefill and
  // decode multiply with them; the file's pages are given back. Before the first pass only.
  // kOutOfMemory: nothing was packed.
  Result<void> pack(const Threads& threads, const KernelTable& kernels);
  // The packed copies of all layers and of the output matrix go; those that are needed come again,
  // to the same bits: a layer's before its project_qkv() and finish_layer(), the output's before
  // logits(). Nothing happens to weights that have none, or whose copy is there. Not thread-safe.
  void let_go_of_packed();
  void let_go_of_layer(int layer);
  void hold_layer(const Threads& threads, int layer);
  void hold_output(const Threads& threads);
  void hold_packed(const Threads& threads);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] ModelInfo info() const;
  // Bytes of all weight matrices that one decode step reads.
  [[nodiscard]] std::size_t decode_weight_bytes() const;
  [[nodiscard]] WeightCounts count_weights() const;

  // Whether a token's row of some layer may have other bits in other company (tensor/linear.h).
  [[nodiscard]] bool rows_depend_on_company(const PassProducts& products) const;

  // The products of all layers by their names (restkv/engine.h), each once, with a + between.
  [[nodiscard]] std::string product_names(const PassProducts& products) const;

  // hidden: [tokens, n_embd]. REQUIRES: every token in [0, n_vocab).
  void embed(const Pass& pass, std::span<const Token> tokens, View2<float> hidden) const;

  // Norm, q/k/v products, head norms, RoPE. q: [m, n_head * head_dim]; k, v: [m, n_kv_head *
  // head_dim].
  void project_qkv(const Pass& pass, int layer, View2<const float> hidden,
                   std::span<const Position> positions, View2<float> q, View2<float> k,
                   View2<float> v) const;

  // Output projection of the attention result, residual, MLP, residual; hidden is updated in place.
  // attention: [m, n_head * head_dim].
  void finish_layer(const Pass& pass, int layer, View2<const float> attention,
                    View2<float> hidden) const;

  // Final norm and output matrix. hidden: [m, n_embd] -> logits [m, n_vocab].
  void logits(const Pass& pass, View2<const float> hidden, View2<float> out) const;

  // [n_head, head_dim, head_dim]: triangular R_h with |W_o^h x| = |R_h x| (LayerObservation).
  // Computed at the first call for a layer and kept; thread-safe.
  View3<const float> output_factors(const KernelTable& kernels, const Threads& threads,
                                    int layer) const;
  // out: [n_head, head_dim, n_embd]; row c of head h is column c of W_o^h
  // (LayerObservation::output_columns). Computed at each call.
  void output_columns(int layer, View3<float> out) const;
  // Lets go of the mapped file's pages in memory: what is needed of them again comes back from the
  // system's cache of files, or from the disk. Thread-safe.
  void give_back_pages() const;
  // How the layer's queries and keys are turned.
  [[nodiscard]] RopeFrequencies rope_frequencies(int layer) const;

 private:
  Model() = default;
  [[nodiscard]] std::string make_fingerprint() const;
  // A part of packed_: a layer, or behind them the output matrix.
  [[nodiscard]] bool holds(std::size_t part) const { return !packed_ || packed_->holds(part); }

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::string fingerprint_;
  std::vector<LayerWeights> layers_;
  std::vector<float> rope_factors_;  // [n_rot / 2] or empty
  std::vector<float> final_norm_;
  Linear embedding_;
  Linear output_;                      // shares the embedding's data when tied
  std::optional<PackedParts> packed_;  // one for each layer, and the output's

  struct Factors {
    std::once_flag once;
    AlignedArray<float> data;
  };
  mutable std::vector<std::unique_ptr<Factors>> factors_;
};

}  // namespace restkv
