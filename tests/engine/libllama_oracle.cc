#include "engine/libllama_oracle.h"

#include <ggml.h>
#include <gguf.h>
#include <llama.h>

#include <algorithm>
#include <cstring>
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

using ModelPtr = std::unique_ptr<llama_model, void (*)(llama_model*)>;
using ContextPtr = std::unique_ptr<llama_context, void (*)(llama_context*)>;

ModelPtr load_model(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  // Must stay: with these, ggml repacks weights for the tile unit where there is one, and
  // configures the unit once for each thread that it meets. Our products use the same threads and
  // release the tiles when they are done; ggml's next one would find none, and trap.
  params.use_extra_bufts = false;
  return {llama_model_load_from_file(path.c_str(), params), llama_model_free};
}

Result<LibllamaAnswer> answer_of(llama_model& model, const std::string& text, std::size_t n) {
  const llama_vocab* vocab = llama_model_get_vocab(&model);
  const auto n_vocab = static_cast<std::size_t>(llama_vocab_n_tokens(vocab));
  LibllamaAnswer answer;
  answer.prompt.resize(text.size() + 8);
  const int n_prompt =
      llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), answer.prompt.data(),
                     static_cast<int>(answer.prompt.size()), /*add_special=*/true,
                     /*parse_special=*/true);
  if (n_prompt <= 0) return Error{ErrorCode::kUnsupported, "libllama cannot read the text"};
  answer.prompt.resize(static_cast<std::size_t>(n_prompt));
  llama_context_params params = context_params(answer.prompt.size() + n, {});
  params.n_threads = 2;
  params.n_threads_batch = 2;
  const ContextPtr context(llama_init_from_model(&model, params), llama_free);
  if (context == nullptr) return Error{ErrorCode::kUnsupported, "libllama cannot run"};
  std::vector<Token> next = answer.prompt;
  for (std::size_t i = 0; i < n; ++i) {
    if (llama_decode(context.get(),
                     llama_batch_get_one(next.data(), static_cast<int>(next.size()))) != 0) {
      return Error{ErrorCode::kUnsupported, "libllama cannot decode"};
    }
    const float* row = llama_get_logits_ith(context.get(), -1);
    answer.logits.insert(answer.logits.end(), row, row + n_vocab);
    next = {static_cast<Token>(std::max_element(row, row + n_vocab) - row)};
    answer.tokens.push_back(next.front());
  }
  return answer;
}

}  // namespace

Result<std::vector<float>> libllama_logits(const std::string& path, std::span<const Token> tokens,
                                           const RopeOverrides& overrides) {
  const ModelPtr model = load_model(path);
  if (model == nullptr) return Error{ErrorCode::kUnsupported, "libllama refuses " + path};
  const ContextPtr context(
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

Result<std::vector<LibllamaAnswer>> libllama_answers(const std::string& path,
                                                     std::span<const std::string> texts,
                                                     std::size_t n) {
  const ModelPtr model = load_model(path);
  if (model == nullptr) return Error{ErrorCode::kUnsupported, "libllama refuses " + path};
  std::vector<LibllamaAnswer> answers;
  for (const std::string& text : texts) {
    RESTKV_ASSIGN(auto answer, answer_of(*model, text, n));
    answers.push_back(std::move(answer));
  }
  return answers;
}

Result<void> write_expanded_to_f32(const std::string& from, const std::string& to) {
  using GgufPtr = std::unique_ptr<gguf_context, void (*)(gguf_context*)>;
  using GgmlPtr = std::unique_ptr<ggml_context, void (*)(ggml_context*)>;
  ggml_context* weights = nullptr;
  const GgufPtr source(gguf_init_from_file(from.c_str(), {.no_alloc = false, .ctx = &weights}),
                       gguf_free);
  if (source == nullptr) return Error{ErrorCode::kIo, from + ": ggml cannot read it"};
  const GgmlPtr owner(weights, ggml_free);
  std::size_t bytes = 0;
  std::size_t count = 0;
  for (ggml_tensor* t = ggml_get_first_tensor(weights); t != nullptr;
       t = ggml_get_next_tensor(weights, t)) {
    bytes += static_cast<std::size_t>(ggml_nelements(t)) * sizeof(float) + 64;
    ++count;
  }
  const GgmlPtr expanded(ggml_init({.mem_size = bytes + (count + 1) * ggml_tensor_overhead(),
                                    .mem_buffer = nullptr,
                                    .no_alloc = false}),
                         ggml_free);
  const GgufPtr target(gguf_init_empty(), gguf_free);
  gguf_set_kv(target.get(), source.get());
  gguf_set_val_u32(target.get(), "general.file_type", 0);  // all f32
  for (std::int64_t i = 0; i < gguf_get_n_tensors(source.get()); ++i) {
    const char* name = gguf_get_tensor_name(source.get(), i);
    const ggml_tensor* old = ggml_get_tensor(weights, name);
    ggml_tensor* fresh = ggml_new_tensor(expanded.get(), GGML_TYPE_F32, GGML_MAX_DIMS, old->ne);
    ggml_set_name(fresh, name);
    if (old->type == GGML_TYPE_F32) {
      std::memcpy(fresh->data, old->data, ggml_nbytes(old));
    } else {
      ggml_get_type_traits(old->type)->to_float(old->data, static_cast<float*>(fresh->data),
                                                ggml_nelements(old));
    }
    gguf_add_tensor(target.get(), fresh);
  }
  if (!gguf_write_to_file(target.get(), to.c_str(), /*only_meta=*/false)) {
    return Error{ErrorCode::kIo, to + ": cannot write"};
  }
  return {};
}

}  // namespace restkv
