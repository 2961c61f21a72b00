// Gemma 1: embeddings scaled by sqrt(n_embd), GELU, tied output. (The converter has already added 1
// to the norm weights.)

#include <cmath>

#include "model/family.h"

namespace restkv {
namespace {

Result<void> configure(const GgufFile& /*file*/, ModelConfig& config) {
  config.rope_style = RopeStyle::kHalves;
  config.activation = Activation::kGelu;
  config.embedding_scale = std::sqrt(static_cast<float>(config.n_embd));
  return {};
}

}  // namespace

extern const FamilyInfo gemma_family;
constinit const FamilyInfo gemma_family{
    .name = "gemma",
    .summary = "Gemma 1",
    .configure = configure,
};

}  // namespace restkv
