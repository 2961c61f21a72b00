#pragma once

// Small models with random weights, one for each family and shape that the engine knows. The
// weights are scaled so that attention is peaked (a wrong row or angle shows), every branch matters
// as much as the residual, and the soft-caps bend.

#include <cstdint>
#include <string>
#include <vector>

#include "restkv/types.h"
#include "support/gguf_writer.h"

namespace restkv {

struct RandomModel {
  std::string family = "llama";  // general.architecture
  int n_layer = 3;
  int n_embd = 128;
  int n_head = 4;
  int n_kv_head = 2;
  int head_dim = 64;
  int n_ff = 192;
  int n_vocab = 100;
  bool tied = false;          // no output matrix of its own
  bool biases = false;        // of q, k and v
  bool other_biases = false;  // of the attention's output and of the MLP
  bool rope_factors = false;  // Llama 3's tensor of divisors
  int sliding_window = 0;     // 0 = the key is not written
  int weight_type = 0;        // ggml_type of all matrices
  float branch = 1.0F;        // size of what a layer adds to the residual stream; deep models with
                              // large branches blow rounding up until nothing can be compared
  // The same model with keys and values written once for each query head: n_kv_head is n_head, and
  // the heads of what was a group have equal rows.
  bool repeated = false;
  bool expanded = false;  // matrices are rounded to weight_type and written as f32
  std::uint32_t seed = 1;
};

// Gemma's families always share the embedding with the output matrix; Gemma 2 and 3 and Qwen3 have
// their norms; Qwen2 has its biases.
[[nodiscard]] RandomModel random_llama();
[[nodiscard]] RandomModel random_qwen2();
[[nodiscard]] RandomModel random_qwen3();
[[nodiscard]] RandomModel random_gemma();
[[nodiscard]] RandomModel random_gemma2();
[[nodiscard]] RandomModel random_gemma3();

// All keys and tensors; more may be set or removed before it is written.
[[nodiscard]] GgufWriter random_model_file(const RandomModel& model);

// n tokens, the same for the same seed.
[[nodiscard]] std::vector<Token> random_tokens(std::size_t n, int n_vocab, std::uint32_t seed);

}  // namespace restkv
