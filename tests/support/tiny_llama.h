#pragma once

// A whole random model of a few KiB: good enough to be loaded, to answer (nonsense), and to be
// broken in every way.

#include <cstdint>
#include <string>
#include <vector>

#include "support/gguf_writer.h"

namespace restkv {

struct TinyTensor {
  std::string name;
  std::vector<std::int64_t> ne;
  int type = 0;  // ggml_type
  std::vector<float> data;
};

// Two layers of 2 query heads over 1 KV head of 32, 64 wide, over tiny_vocabulary() of 48 tokens.
inline constexpr int kTinyVocabulary = 48;
inline constexpr int kTinyContext = 4096;

struct TinyLlama {
  GgufWriter keys;
  std::vector<TinyTensor> tensors;

  // REQUIRES: there is a tensor of that name.
  TinyTensor& tensor(const std::string& name);
  void remove(const std::string& name);
  // The tensor again, with another shape, filled with ones.
  void reshape(const std::string& name, std::vector<std::int64_t> ne);
  [[nodiscard]] GgufWriter file() &&;
};

TinyLlama tiny_llama(std::uint64_t seed = 1);

}  // namespace restkv
