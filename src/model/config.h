#pragma once

// What a model is, as numbers: read once from a GGUF file, with libllama's defaults where a key is
// missing. The forward pass (model.h) reads nothing else.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "restkv/model_info.h"
#include "restkv/policy.h"
#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

enum class RopeStyle : std::uint8_t { kAdjacent, kHalves };  // pairs (2i, 2i+1) or (i, i + n_rot/2)
enum class Activation : std::uint8_t { kSilu, kGelu };  // of the gate; gelu by the tanh formula

// Rotation angles of one kind of layer: angle(p, i) = p * base^(-2i/n_rot), then scaled.
struct RopeConfig {
  double base = 10000.0;
  double freq_scale = 1.0;  // 1 / scaling factor

  bool operator==(const RopeConfig&) const = default;
};

// YaRN (arXiv 2309.00071): blends scaled and unscaled angles. ext_factor 0 switches it off.
struct YarnConfig {
  double ext_factor = 0.0;
  double attn_factor = 1.0;  // multiplies cos and sin, before YaRN's own correction
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  int original_context = 0;

  bool operator==(const YarnConfig&) const = default;
};

struct LayerConfig {
  int sliding_window = 0;  // 0 = sees everything
  RopeConfig rope;
};

struct ModelConfig {
  std::string architecture;
  std::string name;  // general.name, or empty
  int n_layer = 0;
  int n_embd = 0;
  int n_head = 0;
  int n_kv_head = 0;
  int head_dim = 0;
  int n_ff = 0;
  int n_vocab = 0;
  int n_ctx_train = 0;
  int n_rot = 0;  // elements of a head that are rotated
  float norm_eps = 1e-5F;
  float attention_scale = 0.0F;
  float attention_softcap = 0.0F;  // 0 = none
  float final_softcap = 0.0F;      // 0 = none
  float embedding_scale = 1.0F;
  RopeStyle rope_style = RopeStyle::kHalves;
  Activation activation = Activation::kSilu;
  bool has_qk_norm = false;     // RMS norm of every query and key head before RoPE
  bool has_post_norms = false;  // RMS norm after attention and after the MLP, before the residual
  bool may_have_rope_factors = false;  // the tensor rope_freqs.weight divides the angles
  YarnConfig yarn;
  std::vector<LayerConfig> layers;  // [n_layer]

  [[nodiscard]] int group() const { return n_head / n_kv_head; }
  [[nodiscard]] std::size_t q_size() const {
    return static_cast<std::size_t>(n_head) * static_cast<std::size_t>(head_dim);
  }
  [[nodiscard]] std::size_t kv_size() const {
    return static_cast<std::size_t>(n_kv_head) * static_cast<std::size_t>(head_dim);
  }
  [[nodiscard]] AttentionRule attention_rule(int layer) const {
    return {.scale = attention_scale,
            .softcap = attention_softcap,
            .sliding_window = layers[static_cast<std::size_t>(layer)].sliding_window};
  }
};

// Reads and checks the configuration. kUnsupported for a family that is not in the table (the
// message lists them), a mixture of experts, or layers that differ in shape; kCorrupt for a missing
// key or a number that cannot be meant, naming the key.
Result<ModelConfig> read_config(const GgufFile& file, const RopeOverrides& overrides);

// For families: a required positive integer below 2^31 under "<architecture>.<suffix>".
Result<int> required_int(const GgufFile& file, std::string_view suffix);
// The value of an optional number under "<architecture>.<suffix>", finite.
Result<std::optional<double>> optional_number(const GgufFile& file, std::string_view suffix);
// A soft cap under "<architecture>.<suffix>": above 0, or `usual` where the key is missing. 0 is
// none, for families that know that.
Result<float> softcap_of(const GgufFile& file, std::string_view suffix, float usual);
// The value of an optional integer under "<architecture>.<suffix>", from 0 to 2^31 - 1.
Result<std::optional<int>> optional_int(const GgufFile& file, std::string_view suffix);
// RoPE as the file's base and scaling factor say, whatever a user asked for: what libllama takes
// for sliding layers.
Result<RopeConfig> rope_of_file(const GgufFile& file);
// The same, or kCorrupt when it cannot be meant: its angles would be no numbers.
Result<RopeConfig> checked_rope(const GgufFile& file, const RopeConfig& rope);
// Gives layers a sliding window by the pattern key (an array of one flag for each layer, or a
// period) or by the given period: in each period the last layer sees everything.
Result<void> apply_sliding_window(const GgufFile& file, int window, int default_period,
                                  ModelConfig& config);

}  // namespace restkv
