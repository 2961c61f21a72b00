// Gemma 3 (text): five of six layers have a sliding window and their own RoPE base, query and key
// heads are normalised, a norm follows attention and MLP. The 27B scales attention by the
// embedding's width per head.

#include <cmath>

#include "model/family.h"

namespace restkv {
namespace {

constexpr int kPatternPeriod = 6;
constexpr int kLayersOf27B = 62;
constexpr double kWindowRopeBase = 10000.0;

Result<void> configure(const GgufFile& file, ModelConfig& config) {
  config.rope_style = RopeStyle::kHalves;
  config.activation = Activation::kGelu;
  config.embedding_scale = std::sqrt(static_cast<float>(config.n_embd));
  config.has_qk_norm = true;
  config.has_post_norms = true;
  RESTKV_ASSIGN(config.final_softcap, softcap_of(file, "final_logit_softcapping", /*usual=*/0.0F));
  if (config.n_layer == kLayersOf27B) {
    const int width = config.n_embd / config.n_head;  // a whole number, as libllama takes it
    config.attention_scale = 1.0F / std::sqrt(static_cast<float>(width));
  }
  RESTKV_ASSIGN(auto window, optional_int(file, "attention.sliding_window"));
  if (window.value_or(0) == 0) return {};
  RESTKV_TRY(apply_sliding_window(file, *window, kPatternPeriod, config));
  RESTKV_ASSIGN(auto window_base, optional_number(file, "rope.freq_base_swa"));
  RESTKV_ASSIGN(
      const RopeConfig window_rope,
      checked_rope(file, {.base = window_base.value_or(kWindowRopeBase), .freq_scale = 1.0}));
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window > 0) layer.rope = window_rope;
  }
  return {};
}

}  // namespace

extern const FamilyInfo gemma3_family;
constinit const FamilyInfo gemma3_family{
    .name = "gemma3",
    .summary = "Gemma 3, text",
    .configure = configure,
};

}  // namespace restkv
