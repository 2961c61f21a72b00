#pragma once

// What libllama asserts on, or reads out of bounds, when it loads a vocabulary.

#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

// Everything about the keys of a file's vocabulary (tokenizer.ggml.*, and the few keys of the model
// that libllama reads even when it loads the vocabulary alone) that would end the process inside
// libllama, and what makes it guess silently. What libllama itself refuses with an exception may
// pass. kCorrupt ("<path>: key 'tokenizer.ggml...' what is wrong"); kUnsupported for kinds of
// tokeniser that none of our model families uses. A file without a vocabulary passes.
// Engine::load() calls this, so whoever gives a file to Vocabulary::load() loads the engine first.
Result<void> check_vocabulary_keys(const GgufFile& file);

}  // namespace restkv
