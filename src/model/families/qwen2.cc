// Qwen2 and Qwen2.5: Llama's layer with biases on q, k and v.

#include "model/family.h"

namespace restkv {
namespace {

Result<void> configure(const GgufFile& /*file*/, ModelConfig& config) {
  config.rope_style = RopeStyle::kHalves;
  return {};
}

}  // namespace

extern const FamilyInfo qwen2_family;
constinit const FamilyInfo qwen2_family{
    .name = "qwen2",
    .summary = "Qwen2, Qwen2.5",
    .configure = configure,
};

}  // namespace restkv
