#pragma once

// What libllama asserts on, or reads out of bounds, when it loads a vocabulary.

#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

// Everything about the keys of a file's vocabulary (tokenizer.ggml.*, and the few keys of the model
// that libllama reads even when it loads the vocabulary alone) that would end the process inside
// libllama. What libllama itself refuses with an exception may pass. kCorrupt, kUnsupported.
Result<void> check_vocabulary_keys(const GgufFile& file);

}  // namespace restkv
