#pragma once

// What a model's file says under a key, as libllama read it.

#include <llama.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace restkv {

// As text, numbers too; cut after 511 bytes. Empty when there is no such key.
[[nodiscard]] inline std::string model_key(const llama_model& model, const std::string& key) {
  std::string value(512, '\0');
  const std::int32_t n = llama_model_meta_val_str(&model, key.c_str(), value.data(), value.size());
  value.resize(n < 0 ? 0 : std::min(static_cast<std::size_t>(n), value.size() - 1));
  return value;
}

}  // namespace restkv
