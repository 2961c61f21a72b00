// A short name for a model's weights: a hash of a little of every layer, so that loading stays
// quick.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "model/model.h"

namespace restkv {
namespace {

constexpr std::size_t kSample = 4096;  // bytes of each key matrix

// FNV-1a, 64 bits: not meant to withstand an attack, only mistakes.
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      state_ ^= static_cast<std::uint64_t>(byte);
      state_ *= 0x100000001B3ULL;
    }
  }
  void add(int number) { add(std::as_bytes(std::span(&number, 1))); }
  [[nodiscard]] std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(state_));
    return digits;
  }

 private:
  std::uint64_t state_ = 0xCBF29CE484222325ULL;
};

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
