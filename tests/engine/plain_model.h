#pragma once

// A model whose attention is a plain loop over rows that the test hands in: the slow reference for
// what the engine keeps, turns and reads. Norms, products and RoPE are the model's own.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "model/model.h"

namespace restkv {

class PlainModel {
 public:
  explicit PlainModel(const std::string& path);

  [[nodiscard]] const ModelConfig& config() const { return model_->config(); }
  [[nodiscard]] const Model& model() const { return *model_; }

  // [tokens, n_embd]
  [[nodiscard]] std::vector<float> embed(std::span<const Token> tokens);
  // Queries [tokens, n_head * head_dim], keys and values [tokens, n_kv_head * head_dim], turned to
  // the positions.
  struct Projected {
    std::vector<float> q, k, v;
  };
  [[nodiscard]] Projected project(int layer, std::span<const float> hidden,
                                  std::span<const Position> positions);
  // One token's attention over rows of KV heads; keys(h, row) and values(h, row) are [head_dim].
  struct Rows {
    std::function<std::size_t(std::size_t h)> count;
    std::function<const float*(std::size_t h, std::size_t row)> key, value;
  };
  // weights[head][row], when asked for, receives the softmax.
  [[nodiscard]] std::vector<float> attend(int layer, std::span<const float> q, const Rows& rows,
                                          std::vector<std::vector<double>>* weights = nullptr);
  // A prompt at positions 0, 1, ..., every token seeing all before it that the layer's rule lets it
  // see.
  struct Prompt {
    std::vector<Projected> layers;
    std::vector<std::vector<float>> hidden;  // [layers][tokens, n_embd] after each layer
  };
  [[nodiscard]] Prompt read(std::span<const Token> tokens);
  // hidden [tokens, n_embd] goes through the rest of the layer.
  void finish(int layer, std::span<const float> attended, std::span<float> hidden);
  // Of one token's hidden state after the last layer.
  [[nodiscard]] std::vector<float> logits(std::span<const float> hidden);

 private:
  [[nodiscard]] Pass pass();

  std::unique_ptr<Model> model_;
  Threads threads_{1};
  PassBuffers buffers_;
};

}  // namespace restkv
