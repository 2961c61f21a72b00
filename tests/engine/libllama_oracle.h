#pragma once

// The same GGUF file, evaluated by libllama: the oracle for logits.

#include <span>
#include <string>
#include <vector>

#include "restkv/model_info.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

// Logits of every position, [tokens, n_vocab], with an f32 cache, no flash attention and ggml's
// plain row products. kUnsupported when libllama refuses the file.
Result<std::vector<float>> libllama_logits(const std::string& path, std::span<const Token> tokens,
                                           const RopeOverrides& overrides = {});

// What libllama writes greedily after a text, at its own products and an f32 cache.
struct LibllamaAnswer {
  std::vector<Token> prompt;
  std::vector<Token> tokens;  // [n]; the end of the answer is gone past
  std::vector<float> logits;  // [n, n_vocab]; row i decided tokens[i]
};
Result<std::vector<LibllamaAnswer>> libllama_answers(const std::string& path,
                                                     std::span<const std::string> texts,
                                                     std::size_t n);

// A copy of a GGUF file whose weights are all expanded to f32.
Result<void> write_expanded_to_f32(const std::string& from, const std::string& to);

}  // namespace restkv
