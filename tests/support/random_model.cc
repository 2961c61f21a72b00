#include "support/random_model.h"

#include <cmath>
#include <random>

namespace restkv {
namespace {

constexpr int kF32 = 0;  // GGML_TYPE_F32
// Standard deviations of what a matrix makes of a normed row.
constexpr float kQueryKeyGain = 1.6F;  // logits of about 2.5 before the softmax
constexpr float kInnerGain = 1.0F;
constexpr float kOutputGain = 2.0F;

class Builder {
 public:
  explicit Builder(const RandomModel& model) : model_(model), random_(model.seed) {}

  GgufWriter build() {
    keys();
    tiny_vocabulary(writer_, model_.n_vocab);
    const float embedding_gain = is_gemma() ? 1.0F / std::sqrt(float(model_.n_embd)) : 1.0F;
    // A tied matrix serves as output matrix as well.
    const bool tied = model_.tied || is_gemma();
    matrix("token_embd", model_.n_embd, model_.n_vocab,
           embedding_gain * std::sqrt(float(model_.n_embd)) * (tied && !is_gemma() ? 0.3F : 1.0F));
    if (!tied) matrix("output", model_.n_embd, model_.n_vocab, kOutputGain);
    norm("output_norm", model_.n_embd);
    if (model_.rope_factors) factors();
    for (int layer = 0; layer < model_.n_layer; ++layer) {
      prefix_ = "blk." + std::to_string(layer) + ".";
      attention();
      mlp();
    }
    return std::move(writer_);
  }

 private:
  [[nodiscard]] bool is_gemma() const { return model_.family.starts_with("gemma"); }
  [[nodiscard]] bool has_post_norms() const {
    return model_.family == "gemma2" || model_.family == "gemma3";
  }
  [[nodiscard]] std::string key(const char* suffix) const { return model_.family + "." + suffix; }

  void keys() {
    writer_.set_str("general.architecture", model_.family);
    const auto set = [&](const char* suffix, int value) {
      writer_.set_u32(key(suffix), static_cast<std::uint32_t>(value));
    };
    set("context_length", 4096);
    set("block_count", model_.n_layer);
    set("embedding_length", model_.n_embd);
    set("feed_forward_length", model_.n_ff);
    set("attention.head_count", model_.n_head);
    set("attention.head_count_kv", model_.repeated ? model_.n_head : model_.n_kv_head);
    set("attention.key_length", model_.head_dim);
    set("attention.value_length", model_.head_dim);
    writer_.set_f32(key("attention.layer_norm_rms_epsilon"), 1e-5F);
    if (model_.sliding_window > 0) set("attention.sliding_window", model_.sliding_window);
    if (model_.family == "gemma2") {
      writer_.set_f32(key("attn_logit_softcapping"), 4.0F);
      writer_.set_f32(key("final_logit_softcapping"), 5.0F);
    }
    if (model_.family == "gemma3") writer_.set_f32(key("rope.freq_base"), 1e6F);
  }

  void attention() {
    const int q_size = model_.n_head * model_.head_dim;
    const int kv_size = model_.n_kv_head * model_.head_dim;
    norm(prefix_ + "attn_norm", model_.n_embd);
    matrix(prefix_ + "attn_q", model_.n_embd, q_size, kQueryKeyGain);
    const int copies = model_.repeated ? model_.n_head / model_.n_kv_head : 1;
    matrix(prefix_ + "attn_k", model_.n_embd, kv_size, kQueryKeyGain, copies);
    matrix(prefix_ + "attn_v", model_.n_embd, kv_size, kInnerGain, copies);
    matrix(prefix_ + "attn_output", q_size, model_.n_embd, model_.branch);
    if (model_.biases) {
      bias(prefix_ + "attn_q", q_size);
      bias(prefix_ + "attn_k", kv_size, copies);
      bias(prefix_ + "attn_v", kv_size, copies);
    }
    if (model_.other_biases) bias(prefix_ + "attn_output", model_.n_embd);
    if (model_.family == "qwen3" || model_.family == "gemma3") {
      norm(prefix_ + "attn_q_norm", model_.head_dim, kQueryKeyGain);
      norm(prefix_ + "attn_k_norm", model_.head_dim, kQueryKeyGain);
    }
    if (has_post_norms()) norm(prefix_ + "post_attention_norm", model_.n_embd, model_.branch);
  }

  void mlp() {
    norm(prefix_ + "ffn_norm", model_.n_embd);
    matrix(prefix_ + "ffn_gate", model_.n_embd, model_.n_ff, kInnerGain);
    matrix(prefix_ + "ffn_up", model_.n_embd, model_.n_ff, kInnerGain);
    matrix(prefix_ + "ffn_down", model_.n_ff, model_.n_embd, model_.branch);
    if (model_.other_biases) {
      bias(prefix_ + "ffn_gate", model_.n_ff);
      bias(prefix_ + "ffn_up", model_.n_ff);
      bias(prefix_ + "ffn_down", model_.n_embd);
    }
    if (has_post_norms()) norm(prefix_ + "post_ffw_norm", model_.n_embd, model_.branch);
  }

  std::vector<float> normal(std::size_t n, float mean, float deviation) {
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(n);
    for (float& value : values) value = distribution(random_);
    return values;
  }

  // What belongs to a KV head, as often as it has query heads.
  [[nodiscard]] std::vector<float> repeated(const std::vector<float>& data, int copies) const {
    const std::size_t head = data.size() / static_cast<std::size_t>(model_.n_kv_head);
    std::vector<float> result;
    for (std::size_t first = 0; first < data.size(); first += head) {
      const auto begin = data.begin() + static_cast<std::ptrdiff_t>(first);
      for (int i = 0; i < copies; ++i) {
        result.insert(result.end(), begin, begin + static_cast<std::ptrdiff_t>(head));
      }
    }
    return result;
  }

  void matrix(const std::string& stem, int n_in, int n_out, float gain, int copies = 1) {
    const std::string name = stem + ".weight";
    const std::vector<std::int64_t> shape = {n_in, std::int64_t{n_out} * copies};
    std::vector<float> data = normal(static_cast<std::size_t>(n_in) * std::size_t(n_out), 0.0F,
                                     gain / std::sqrt(float(n_in)));
    if (copies > 1) data = repeated(data, copies);
    if (!model_.expanded) return writer_.add_tensor(name, shape, data, model_.weight_type);
    GgufWriter rounded;
    rounded.add_tensor(name, shape, data, model_.weight_type);
    writer_.add_tensor(name, shape, rounded.expanded(name), kF32);
  }

  void norm(const std::string& stem, int n, float mean = 1.0F) {
    writer_.add_tensor(stem + ".weight", {n}, normal(std::size_t(n), mean, 0.3F * mean), kF32);
  }

  void bias(const std::string& stem, int n, int copies = 1) {
    std::vector<float> data = normal(std::size_t(n), 0.0F, 0.5F);
    if (copies > 1) data = repeated(data, copies);
    writer_.add_tensor(stem + ".bias", {std::int64_t{n} * copies}, data, kF32);
  }

  // Fast waves stay, slow ones are stretched, as in Llama 3.
  void factors() {
    const int pairs = model_.head_dim / 2;
    std::vector<float> values(static_cast<std::size_t>(pairs), 1.0F);
    for (int i = pairs / 4; i < pairs; ++i) {
      values[static_cast<std::size_t>(i)] = i < pairs / 2 ? 1.0F + 0.25F * float(i) : 8.0F;
    }
    writer_.add_tensor("rope_freqs.weight", {pairs}, values, kF32);
  }

  const RandomModel& model_;
  std::mt19937 random_;
  GgufWriter writer_;
  std::string prefix_;
};

}  // namespace

RandomModel random_llama() { return {}; }

RandomModel random_qwen2() {
  // libllama wants head_dim * n_head = n_embd here.
  return {.family = "qwen2", .n_embd = 256, .tied = true, .biases = true};
}

RandomModel random_qwen3() { return {.family = "qwen3", .tied = true}; }

RandomModel random_gemma() {
  return {.family = "gemma", .n_head = 2, .n_kv_head = 1, .head_dim = 256};
}

RandomModel random_gemma2() {
  return {.family = "gemma2", .n_layer = 4, .sliding_window = 24, .branch = 0.5F};
}

RandomModel random_gemma3() {
  return {.family = "gemma3", .n_layer = 7, .n_kv_head = 1, .sliding_window = 24, .branch = 0.5F};
}

GgufWriter random_model_file(const RandomModel& model) { return Builder(model).build(); }

std::vector<Token> random_tokens(std::size_t n, int n_vocab, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<Token> distribution(0, n_vocab - 1);
  std::vector<Token> tokens(n);
  for (Token& token : tokens) token = distribution(random);
  return tokens;
}

}  // namespace restkv
