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

}  // namespace restkv
