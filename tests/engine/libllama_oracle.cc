#include "engine/libllama_oracle.h"

#include <llama.h>

#include <memory>

namespace restkv {
namespace {

llama_context_params context_params(std::size_t n, const RopeOverrides& rope) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(n);
  params.n_batch = params.n_ctx;
  params.n_ubatch = params.n_ctx;
  params.n_threads = 1;
  params.n_threads_batch = 1;
  params.type_k = GGML_TYPE_F32;
  params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  if (rope.scaling) {
    switch (*rope.scaling) {
      case RopeScaling::kNone: params.rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_NONE; break;
      case RopeScaling::kLinear: params.rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_LINEAR; break;
      case RopeScaling::kYarn: params.rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_YARN; break;
    }
  }
  if (rope.freq_base) params.rope_freq_base = static_cast<float>(*rope.freq_base);
  if (rope.freq_scale) params.rope_freq_scale = static_cast<float>(*rope.freq_scale);
  if (rope.yarn_ext_factor) params.yarn_ext_factor = static_cast<float>(*rope.yarn_ext_factor);
  if (rope.yarn_attn_factor) params.yarn_attn_factor = static_cast<float>(*rope.yarn_attn_factor);
  if (rope.yarn_beta_fast) params.yarn_beta_fast = static_cast<float>(*rope.yarn_beta_fast);
  if (rope.yarn_beta_slow) params.yarn_beta_slow = static_cast<float>(*rope.yarn_beta_slow);
  if (rope.yarn_original_context) {
    params.yarn_orig_ctx = static_cast<std::uint32_t>(*rope.yarn_original_context);
  }
  return params;
}

}  // namespace

Result<std::vector<float>> libllama_logits(const std::string& path, std::span<const Token> tokens,
                                           const RopeOverrides& overrides) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  params.use_extra_bufts = false;
  const std::unique_ptr<llama_model, void (*)(llama_model*)> model(
      llama_model_load_from_file(path.c_str(), params), llama_model_free);
  if (model == nullptr) return Error{ErrorCode::kUnsupported, "libllama refuses " + path};
  const std::unique_ptr<llama_context, void (*)(llama_context*)> context(
      llama_init_from_model(model.get(), context_params(tokens.size(), overrides)), llama_free);
  if (context == nullptr) return Error{ErrorCode::kUnsupported, "libllama cannot run " + path};

  llama_batch batch = llama_batch_init(static_cast<int>(tokens.size()), /*embd=*/0,
                                       /*n_seq_max=*/1);
  batch.n_tokens = static_cast<int>(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    batch.token[i] = tokens[i];
    batch.pos[i] = static_cast<llama_pos>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  const int status = llama_decode(context.get(), batch);
  llama_batch_free(batch);
  if (status != 0) return Error{ErrorCode::kUnsupported, "libllama cannot decode"};
  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
  const float* logits = llama_get_logits(context.get());
  return std::vector<float>(logits, logits + tokens.size() * static_cast<std::size_t>(n_vocab));
}

}  // namespace restkv
