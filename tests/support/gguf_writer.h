#pragma once

// Writes small GGUF files for the tests, with ggml's own writer: what it writes is right by
// definition. Misuse (a key twice, a shape that does not fit the data) fails a check.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/result.h"

struct gguf_context;

namespace restkv {

class GgufWriter {
 public:
  GgufWriter();

  // Keys. A key that is set again is replaced.
  void set_u32(const std::string& key, std::uint32_t value);
  void set_i32(const std::string& key, std::int32_t value);
  void set_u64(const std::string& key, std::uint64_t value);
  void set_f32(const std::string& key, float value);
  void set_bool(const std::string& key, bool value);
  void set_str(const std::string& key, const std::string& value);
  void set_u32s(const std::string& key, std::span<const std::uint32_t> values);
  void set_i32s(const std::string& key, std::span<const std::int32_t> values);
  void set_f32s(const std::string& key, std::span<const float> values);
  void set_bools(const std::string& key, std::span<const std::int8_t> values);
  void set_strs(const std::string& key, std::span<const std::string> values);  // no NUL inside
  void remove(const std::string& key);

  // A tensor of any ggml type that f32 data can be converted to; ne[0] is the length of a row and a
  // multiple of the type's block. type: ggml_type. The data is copied, or quantised at once.
  void add_tensor(const std::string& name, std::vector<std::int64_t> ne,
                  std::span<const float> data, int type);
  // What a reader will see of a tensor: the f32 data after the round trip through its type.
  [[nodiscard]] std::vector<float> expanded(const std::string& name) const;

  // The whole file.
  [[nodiscard]] std::vector<std::byte> bytes() const;
  [[nodiscard]] Result<void> write(const std::string& path) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> ne;
    int type;
    std::vector<std::byte> data;
  };
  struct Free {
    void operator()(gguf_context* context) const;
  };
  std::unique_ptr<gguf_context, Free> keys_;
  std::vector<Tensor> tensors_;
};

// True when add_tensor() can make this type (ggml_type) of rows of f32.
[[nodiscard]] bool can_quantise(int type);

// A small byte-level BPE vocabulary (tokenizer.ggml.*, pre-tokenizer gpt-2) of n_vocab >= 8 tokens
// that libllama accepts: 0 is "<|endoftext|>" (end of text), 1 "<|im_start|>", 2 "<|im_end|>", then
// letters, blank and line end, then the other bytes, then merged pairs. No token to begin with.
void tiny_vocabulary(GgufWriter& writer, int n_vocab);

}  // namespace restkv
