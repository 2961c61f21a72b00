#pragma once

// What a user of the library can learn of a loaded model, and may override when loading it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace restkv {

enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn };

// Replaces what the model file says about positions; what is not set stays as in the file.
struct RopeOverrides {
  std::optional<RopeScaling> scaling = {};
  std::optional<double> freq_base = {};
  std::optional<double> freq_scale = {};  // 1 / context expansion factor
  std::optional<double> yarn_ext_factor = {};
  std::optional<double> yarn_attn_factor = {};
  std::optional<double> yarn_beta_fast = {};
  std::optional<double> yarn_beta_slow = {};
  std::optional<int> yarn_original_context = {};

  [[nodiscard]] bool extends_context() const { return freq_scale && *freq_scale < 1.0; }
};

// Elements of the weight matrices by what they are used for: what a token costs follows from them.
struct WeightCounts {
  std::size_t all = 0;           // of every tensor in the file
  std::size_t projections = 0;   // query, key and value, all layers
  std::size_t rest = 0;          // attention output and MLP, all layers
  std::size_t output = 0;        // the matrix that gives logits
  std::size_t all_bytes = 0;     // of every tensor in the file
  std::size_t decode_bytes = 0;  // of the matrices that one decode step reads
};

struct ModelInfo {
  std::string path;
  std::string name;          // general.name, or the file's name
  std::string architecture;  // "qwen2", ...
  // For files that were made for one model: of its sizes, norms and a little of every layer's key
  // matrix. Models that differ in other matrices only have the same.
  std::string fingerprint = {};
  int n_layer = 0;
  int n_embd = 0;
  int n_head = 0;
  int n_kv_head = 0;
  int head_dim = 0;
  int n_vocab = 0;
  int n_ctx_train = 0;  // positions that the model was trained for
  std::size_t file_bytes = 0;
  std::optional<int> file_type = {};  // general.file_type: llama.cpp's number of the mixture
  std::vector<int> sliding_windows;   // [n_layer] rows that a layer may see, 0 = all
  WeightCounts weights;
};

}  // namespace restkv
