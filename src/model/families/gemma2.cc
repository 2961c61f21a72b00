// Gemma 2: every second layer has a sliding window, attention and final logits are soft-capped, and
// a norm follows attention and MLP. The 27B scales attention by the embedding's width per head.

#include <cmath>

#include "model/family.h"

namespace restkv {
namespace {

constexpr int kDefaultWindow = 4096;
constexpr int kPatternPeriod = 2;
constexpr float kDefaultAttentionSoftcap = 50.0F;
constexpr float kDefaultFinalSoftcap = 30.0F;
constexpr int kLayersOf27B = 46;

Result<void> configure(const GgufFile& file, ModelConfig& config) {
  config.rope_style = RopeStyle::kHalves;
  config.activation = Activation::kGelu;
  config.embedding_scale = std::sqrt(static_cast<float>(config.n_embd));
  config.has_post_norms = true;
  RESTKV_ASSIGN(config.attention_softcap,
                softcap_of(file, "attn_logit_softcapping", kDefaultAttentionSoftcap));
  RESTKV_ASSIGN(config.final_softcap,
                softcap_of(file, "final_logit_softcapping", kDefaultFinalSoftcap));
  if (config.n_layer == kLayersOf27B) {
    const int width = config.n_embd / config.n_head;  // a whole number, as libllama takes it
    config.attention_scale = 1.0F / std::sqrt(static_cast<float>(width));
  }
  RESTKV_ASSIGN(auto window, optional_int(file, "attention.sliding_window"));
  if (window.value_or(kDefaultWindow) == 0) {
    return Error{ErrorCode::kCorrupt,
                 file.path() + ": gemma2.attention.sliding_window = 0 is out of range"};
  }
  RESTKV_TRY(apply_sliding_window(file, window.value_or(kDefaultWindow), kPatternPeriod, config));
  RESTKV_ASSIGN(RopeConfig window_rope, rope_of_file(file));
  RESTKV_ASSIGN(auto window_base, optional_number(file, "rope.freq_base_swa"));
  window_rope.base = window_base.value_or(window_rope.base);
  RESTKV_ASSIGN(window_rope, checked_rope(file, window_rope));
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window > 0) layer.rope = window_rope;
  }
  return {};
}

}  // namespace

extern const FamilyInfo gemma2_family;
constinit const FamilyInfo gemma2_family{
    .name = "gemma2",
    .summary = "Gemma 2",
    .configure = configure,
};

}  // namespace restkv
