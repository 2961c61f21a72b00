#include "support/gguf_writer.h"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/check.h"

namespace restkv {
namespace {

std::int64_t product(const std::vector<std::int64_t>& ne, std::size_t first) {
  std::int64_t result = 1;
  for (std::size_t i = first; i < ne.size(); ++i) result *= ne[i];
  return result;
}

// The 256 characters that stand for the bytes in byte-level vocabularies, as UTF-8: a printable
// byte stands for itself, the others for U+0100 and up.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> letters;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    const int code = printable ? byte : next++;
    std::string text;
    if (code < 128) {
      text += static_cast<char>(code);
    } else {
      text += static_cast<char>(0xC0 | (code >> 6));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
    letters.push_back(text);
  }
  return letters;
}

// Letters, blank and line end first: a small vocabulary should be able to say something.
std::vector<int> bytes_by_use() {
  std::vector<int> order;
  for (int c = 'a'; c <= 'z'; ++c) order.push_back(c);
  for (const char c : {' ', '\n', '.', '?'}) order.push_back(c);
  for (int byte = 0; byte < 256; ++byte) {
    if (std::ranges::find(order, byte) == order.end()) order.push_back(byte);
  }
  return order;
}

}  // namespace

GgufWriter::GgufWriter() : keys_(gguf_init_empty()) {}

void GgufWriter::Free::operator()(gguf_context* context) const { gguf_free(context); }

void GgufWriter::set_u32(const std::string& key, std::uint32_t value) {
  gguf_set_val_u32(keys_.get(), key.c_str(), value);
}
void GgufWriter::set_i32(const std::string& key, std::int32_t value) {
  gguf_set_val_i32(keys_.get(), key.c_str(), value);
}
void GgufWriter::set_u64(const std::string& key, std::uint64_t value) {
  gguf_set_val_u64(keys_.get(), key.c_str(), value);
}
void GgufWriter::set_f32(const std::string& key, float value) {
  gguf_set_val_f32(keys_.get(), key.c_str(), value);
}
void GgufWriter::set_bool(const std::string& key, bool value) {
  gguf_set_val_bool(keys_.get(), key.c_str(), value);
}
void GgufWriter::set_str(const std::string& key, const std::string& value) {
  gguf_set_val_str(keys_.get(), key.c_str(), value.c_str());
}
void GgufWriter::set_u32s(const std::string& key, std::span<const std::uint32_t> values) {
  gguf_set_arr_data(keys_.get(), key.c_str(), GGUF_TYPE_UINT32, values.data(), values.size());
}
void GgufWriter::set_i32s(const std::string& key, std::span<const std::int32_t> values) {
  gguf_set_arr_data(keys_.get(), key.c_str(), GGUF_TYPE_INT32, values.data(), values.size());
}
void GgufWriter::set_f32s(const std::string& key, std::span<const float> values) {
  gguf_set_arr_data(keys_.get(), key.c_str(), GGUF_TYPE_FLOAT32, values.data(), values.size());
}
void GgufWriter::set_bools(const std::string& key, std::span<const std::int8_t> values) {
  gguf_set_arr_data(keys_.get(), key.c_str(), GGUF_TYPE_BOOL, values.data(), values.size());
}
void GgufWriter::set_strs(const std::string& key, std::span<const std::string> values) {
  std::vector<const char*> pointers;
  for (const std::string& value : values) pointers.push_back(value.c_str());
  gguf_set_arr_str(keys_.get(), key.c_str(), pointers.data(), pointers.size());
}
void GgufWriter::remove(const std::string& key) { gguf_remove_key(keys_.get(), key.c_str()); }

void GgufWriter::add_tensor(const std::string& name, std::vector<std::int64_t> ne,
                            std::span<const float> data, int type) {
  RESTKV_CHECK(can_quantise(type));
  RESTKV_CHECK(!ne.empty() && ne.size() <= GGML_MAX_DIMS);
  const auto kind = static_cast<ggml_type>(type);
  const std::int64_t n_col = ne[0];
  const std::int64_t n_row = product(ne, 1);
  RESTKV_CHECK(n_col > 0 && n_row > 0 && n_col % ggml_blck_size(kind) == 0);
  RESTKV_CHECK(data.size() == static_cast<std::size_t>(n_col * n_row));

  Tensor tensor{.name = name, .ne = std::move(ne), .type = type, .data = {}};
  tensor.data.resize(ggml_row_size(kind, n_col) * static_cast<std::size_t>(n_row));
  // Some types want to know how much each column matters; to us all matter alike.
  const std::vector<float> weights(static_cast<std::size_t>(n_col), 1.0F);
  ggml_quantize_chunk(kind, data.data(), tensor.data.data(), /*start=*/0, n_row, n_col,
                      weights.data());
  tensors_.push_back(std::move(tensor));
}

std::vector<float> GgufWriter::expanded(const std::string& name) const {
  const auto found = std::ranges::find(tensors_, name, &Tensor::name);
  RESTKV_CHECK(found != tensors_.end());
  std::vector<float> out(static_cast<std::size_t>(product(found->ne, 0)));
  if (found->type == GGML_TYPE_F32) {
    std::memcpy(out.data(), found->data.data(), found->data.size());
  } else {
    ggml_get_type_traits(static_cast<ggml_type>(found->type))
        ->to_float(found->data.data(), out.data(), static_cast<std::int64_t>(out.size()));
  }
  return out;
}

std::vector<std::byte> GgufWriter::bytes() const {
  const std::unique_ptr<gguf_context, Free> file(gguf_init_empty());
  gguf_set_kv(file.get(), keys_.get());
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> shapes(
      ggml_init({.mem_size = (tensors_.size() + 1) * ggml_tensor_overhead(),
                 .mem_buffer = nullptr,
                 .no_alloc = true}),
      ggml_free);
  for (const Tensor& tensor : tensors_) {
    ggml_tensor* shape = ggml_new_tensor(shapes.get(), static_cast<ggml_type>(tensor.type),
                                         static_cast<int>(tensor.ne.size()), tensor.ne.data());
    ggml_set_name(shape, tensor.name.c_str());
    gguf_add_tensor(file.get(), shape);
  }
  std::vector<std::byte> out(gguf_get_meta_size(file.get()));
  gguf_get_meta_data(file.get(), out.data());
  const std::size_t alignment = gguf_get_alignment(file.get());
  for (const Tensor& tensor : tensors_) {
    out.insert(out.end(), tensor.data.begin(), tensor.data.end());
    out.resize((out.size() + alignment - 1) / alignment * alignment);
  }
  return out;
}

Result<void> GgufWriter::write(const std::string& path) const {
  const std::vector<std::byte> content = bytes();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) return Error{ErrorCode::kIo, path + ": cannot write"};
  return {};
}

bool can_quantise(int type) {
  if (type < 0 || type >= GGML_TYPE_COUNT) return false;
  switch (type) {
    case GGML_TYPE_Q8_1:
    case GGML_TYPE_Q8_K:
    case GGML_TYPE_I8:
    case GGML_TYPE_I16:
    case GGML_TYPE_I32:
    case GGML_TYPE_I64:
    case GGML_TYPE_F64: return false;  // partners of other types, and what holds no weights
    default: return ggml_blck_size(static_cast<ggml_type>(type)) > 0;
  }
}

void tiny_vocabulary(GgufWriter& writer, int n_vocab) {
  RESTKV_CHECK(n_vocab >= 8);
  const auto size = static_cast<std::size_t>(n_vocab);
  constexpr int kNormal = 1;
  constexpr int kControl = 3;
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  std::vector<std::int32_t> types(tokens.size(), kControl);
  types.resize(size, kNormal);
  const std::vector<std::string> alphabet = byte_alphabet();
  const std::vector<int> order = bytes_by_use();
  for (std::size_t i = 0; i < order.size() && tokens.size() < size; ++i) {
    tokens.push_back(alphabet[static_cast<std::size_t>(order[i])]);
  }
  // Pairs of single characters; one merge at least, since libllama wants the list.
  std::vector<std::string> merges;
  for (std::size_t i = 0; i < order.size() && tokens.size() < size; ++i) {
    for (std::size_t j = 0; j < order.size() && tokens.size() < size; ++j) {
      const std::string& first = alphabet[static_cast<std::size_t>(order[i])];
      const std::string& second = alphabet[static_cast<std::size_t>(order[j])];
      tokens.push_back(first + second);
      merges.push_back(first + " " + second);
    }
  }
  if (merges.empty()) merges.push_back(tokens[3] + " " + tokens[4]);
  RESTKV_CHECK(tokens.size() == size);
  writer.set_str("tokenizer.ggml.model", "gpt2");
  writer.set_str("tokenizer.ggml.pre", "gpt-2");
  writer.set_strs("tokenizer.ggml.tokens", tokens);
  writer.set_i32s("tokenizer.ggml.token_type", types);
  writer.set_strs("tokenizer.ggml.merges", merges);
  writer.set_u32("tokenizer.ggml.eos_token_id", 2);
  writer.set_u32("tokenizer.ggml.bos_token_id", 0);
  writer.set_bool("tokenizer.ggml.add_bos_token", false);
}

}  // namespace restkv
