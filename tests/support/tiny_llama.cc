#include "support/tiny_llama.h"

#include <ggml.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace restkv {
namespace {

constexpr std::int64_t kWidth = 64;
constexpr std::int64_t kHidden = 96;
constexpr std::int64_t kHeadDim = 32;
constexpr int kLayers = 2;

std::int64_t elements(const std::vector<std::int64_t>& ne) {
  std::int64_t n = 1;
  for (const std::int64_t size : ne) n *= size;
  return n;
}

class Maker {
 public:
  Maker(TinyLlama& model, std::uint64_t seed) : model_(model), state_(seed) {}

  void matrix(const std::string& name, std::int64_t n_in, std::int64_t n_out) {
    std::vector<float> data(static_cast<std::size_t>(n_in * n_out));
    for (float& x : data) x = (static_cast<float>(next_random(state_) % 2001) - 1000.0F) / 5000.0F;
    model_.tensors.push_back({.name = name + ".weight",
                              .ne = {n_in, n_out},
                              .type = GGML_TYPE_F32,
                              .data = std::move(data)});
  }
  void norm(const std::string& name) {
    model_.tensors.push_back({.name = name + ".weight",
                              .ne = {kWidth},
                              .type = GGML_TYPE_F32,
                              .data = std::vector<float>(kWidth, 1.0F)});
  }

 private:
  TinyLlama& model_;
  std::uint64_t state_;
};

void set_keys(GgufWriter& keys) {
  keys.set_str("general.architecture", "llama");
  keys.set_str("general.name", "tiny");
  keys.set_u32("llama.block_count", kLayers);
  keys.set_u32("llama.embedding_length", kWidth);
  keys.set_u32("llama.context_length", kTinyContext);
  keys.set_u32("llama.feed_forward_length", kHidden);
  keys.set_u32("llama.attention.head_count", 2);
  keys.set_u32("llama.attention.head_count_kv", 1);
  keys.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  keys.set_u32("llama.rope.dimension_count", kHeadDim);
  tiny_vocabulary(keys, kTinyVocabulary);
}

}  // namespace

TinyTensor& TinyLlama::tensor(const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &TinyTensor::name);
  RESTKV_CHECK(found != tensors.end());
  return *found;
}

void TinyLlama::remove(const std::string& name) {
  std::erase_if(tensors, [&](const TinyTensor& one) { return one.name == name; });
}

void TinyLlama::reshape(const std::string& name, std::vector<std::int64_t> ne) {
  TinyTensor& changed = tensor(name);
  changed.data.assign(static_cast<std::size_t>(elements(ne)), 1.0F);
  changed.ne = std::move(ne);
}

GgufWriter TinyLlama::file() && {
  for (const TinyTensor& one : tensors) keys.add_tensor(one.name, one.ne, one.data, one.type);
  return std::move(keys);
}

TinyLlama tiny_llama(std::uint64_t seed) {
  TinyLlama model;
  set_keys(model.keys);
  Maker maker(model, seed);
  maker.matrix("token_embd", kWidth, kTinyVocabulary);
  maker.norm("output_norm");
  maker.matrix("output", kWidth, kTinyVocabulary);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    maker.norm(prefix + "attn_norm");
    maker.norm(prefix + "ffn_norm");
    maker.matrix(prefix + "attn_q", kWidth, 2 * kHeadDim);
    maker.matrix(prefix + "attn_k", kWidth, kHeadDim);
    maker.matrix(prefix + "attn_v", kWidth, kHeadDim);
    maker.matrix(prefix + "attn_output", 2 * kHeadDim, kWidth);
    maker.matrix(prefix + "ffn_gate", kWidth, kHidden);
    maker.matrix(prefix + "ffn_up", kWidth, kHidden);
    maker.matrix(prefix + "ffn_down", kHidden, kWidth);
  }
  return model;
}

}  // namespace restkv
