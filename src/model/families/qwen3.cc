// Qwen3 (dense): every query and key head is normalised before RoPE, no biases.

#include "model/family.h"

namespace restkv {
namespace {

Result<void> configure(const GgufFile& /*file*/, ModelConfig& config) {
  config.rope_style = RopeStyle::kHalves;
  config.has_qk_norm = true;
  return {};
}

}  // namespace

extern const FamilyInfo qwen3_family;
constinit const FamilyInfo qwen3_family{
    .name = "qwen3",
    .summary = "Qwen3, dense",
    .configure = configure,
};

}  // namespace restkv
