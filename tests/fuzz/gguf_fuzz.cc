// Any bytes as a GGUF file: what opens must be readable to the last key and tensor, and the check
// of the vocabulary must come to an end.

#include <cstdint>
#include <cstring>

#include "base/aligned.h"
#include "tensor/gguf_file.h"
#include "tensor/vocabulary_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // from_memory() wants an aligned beginning.
  restkv::AlignedArray<std::byte> copy(size);
  if (size > 0) std::memcpy(copy.data(), data, size);
  const auto file = restkv::GgufFile::from_memory(copy.span(), "fuzz");
  if (!file.ok()) return 0;
  unsigned sum = 0;
  for (const restkv::TensorData& tensor : (*file)->tensors()) {
    if (tensor.bytes > 0) {
      sum += static_cast<unsigned>(tensor.data[0]) +
             static_cast<unsigned>(tensor.data[tensor.bytes - 1]);
    }
    sum += static_cast<unsigned>(tensor.describe().size());
  }
  for (const char* key :
       {"general.architecture", "general.name", "general.alignment", "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"}) {
    (void)(*file)->integer(key).ok();
    (void)(*file)->number(key).ok();
    (void)(*file)->boolean(key).ok();
    (void)(*file)->text(key).ok();
    (void)(*file)->integers(key).ok();
    (void)(*file)->numbers(key).ok();
    (void)(*file)->strings(key).ok();
    sum += static_cast<unsigned>((*file)->type_of(key).size());
  }
  (void)restkv::check_vocabulary_keys(**file).ok();
  return sum == 0xFFFFFFFF ? 1 : 0;
}
