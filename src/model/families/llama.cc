// Llama 1, 2, 3 and what is converted under the same name: Mistral, TinyLlama, SmolLM2. Llama 3's
// RoPE factors come as the tensor rope_freqs.weight, which the common code reads.

#include "model/family.h"

namespace restkv {
namespace {

Result<void> configure(const GgufFile& file, ModelConfig& config) {
  config.rope_style = RopeStyle::kAdjacent;
  config.may_have_rope_factors = true;
  if (config.n_rot != config.head_dim) {
    return Error{ErrorCode::kCorrupt, file.path() + ": llama rotates whole heads, but " +
                                          "llama.rope.dimension_count says otherwise"};
  }
  return {};
}

}  // namespace

extern const FamilyInfo llama_family;
constinit const FamilyInfo llama_family{
    .name = "llama",
    .summary = "Llama 2, Llama 3.x, Mistral, TinyLlama, SmolLM2",
    .configure = configure,
};

}  // namespace restkv
