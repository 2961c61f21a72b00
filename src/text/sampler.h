#pragma once

// Picks the next token from the logits: libllama's samplers in llama.cpp's order (bias, repetition,
// top-k, top-p, min-p, temperature, draw), so one seed gives what llama.cpp gives.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "restkv/result.h"
#include "restkv/types.h"

struct llama_sampler;
struct llama_token_data;

namespace restkv {

// llama.cpp's names and defaults.
struct SamplerOptions {
  float temperature = 0.8F;     // <= 0: greedy, the largest logit, the lowest token when equal
  int top_k = 40;               // tokens; <= 0: all
  float top_p = 0.95F;          // [0, 1]; 1: all
  float min_p = 0.05F;          // [0, 1], relative to the most likely token; 0: all
  float repeat_penalty = 1.0F;  // > 0; 1: none
  int repeat_last_n = 64;       // tokens that the penalty looks back on; 0: none
  std::optional<std::uint32_t> seed = std::nullopt;  // empty: another one each time
  std::vector<Token> forbidden =
      {};  // never picked: --ignore-eos, tokens that the model suppresses
};

// What a user asks for, or a model's file; empty: nothing.
struct SamplerWishes {
  std::optional<float> temperature = std::nullopt;
  std::optional<int> top_k = std::nullopt;
  std::optional<float> top_p = std::nullopt;
  std::optional<float> min_p = std::nullopt;
  std::optional<float> repeat_penalty = std::nullopt;
  std::optional<int> repeat_last_n = std::nullopt;
};
// The options, with what is asked for in place of what they were.
[[nodiscard]] SamplerOptions with_wishes(SamplerOptions options, const SamplerWishes& wishes);

// The most likely token is taken each time: no seed, and nothing that leaves candidates out,
// counts.
[[nodiscard]] inline bool is_greedy(const SamplerOptions& options) {
  return options.temperature <= 0;
}

// State: the random numbers and the last accepted tokens. Move only; one thread at a time.
class Sampler {
 public:
  // kInvalidArgument naming the option that is out of range, and for a forbidden token outside the
  // vocabulary. Takes 4 bytes for each of repeat_last_n tokens, as every clone does. n_vocab:
  // length of the logits, in [1, 2^31).
  static Result<Sampler> make(const SamplerOptions& options, std::size_t n_vocab);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  // Draws a token; does not count it as accepted. Logits that are all NaN or -infinity give some
  // token. REQUIRES: logits.size() == n_vocab
  Token sample(std::span<const float> logits);
  // Tells the sampler which token the sequence went on with, or which it was given to read: the
  // repeat penalty looks back on both, as llama.cpp's does. REQUIRES: tokens of the vocabulary.
  void accept(Token token);
  void accept(std::span<const Token> tokens);
  // A second sampler in the same state: both go on with the same draws.
  [[nodiscard]] Sampler clone() const;

 private:
  struct FreeChain {
    void operator()(llama_sampler* chain) const;
  };
  // The largest allowed logit is picked, and nothing changes an allowed one.
  struct Greedy {
    std::vector<Token> forbidden;  // increasing
  };
  Sampler(std::unique_ptr<llama_sampler, FreeChain> chain, std::size_t n_vocab,
          std::optional<Greedy> greedy);

  std::unique_ptr<llama_sampler, FreeChain> chain_;
  std::vector<llama_token_data> candidates_;  // [n_vocab], scratch of sample()
  std::optional<Greedy> greedy_;              // where the chain is not needed
};

}  // namespace restkv
