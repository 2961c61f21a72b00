// A short name for a model's weights: a hash of a little of every layer, so that loading stays
// quick.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "base/hash.h"
#include "model/model.h"

namespace restkv {
namespace {

constexpr std::size_t kSample = 4096;  // bytes of each key matrix

}  // namespace

std::string Model::make_fingerprint() const {
  Hash hash;
  for (const int number : {config_.n_layer, config_.n_embd, config_.n_head, config_.n_kv_head,
                           config_.head_dim, config_.n_vocab}) {
    hash.add(number);
  }
  for (const LayerWeights& layer : layers_) {
    hash.add(std::as_bytes(std::span(layer.attention_norm)));
    hash.add(layer.key.weight_type());
    hash.add(layer.key.data().first(std::min(kSample, layer.key.data().size())));
  }
  return hash.text();
}

}  // namespace restkv
