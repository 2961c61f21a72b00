#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/names.h"
#include "base/quote.h"
#include "kernels/kernels.h"
#include "model/family.h"

namespace restkv {
namespace {

constexpr int kMaxLayers = 1024;
constexpr int kMaxDimension = 1 << 20;

std::string key_of(const GgufFile& file, std::string_view suffix) {
  return file.architecture() + "." + std::string(suffix);
}

Error corrupt(const GgufFile& file, const std::string& what) {
  return {ErrorCode::kCorrupt, file.path() + ": " + what};
}

Error unsupported(const GgufFile& file, const std::string& what) {
  return {ErrorCode::kUnsupported, file.path() + ": " + what};
}

// A name for people, in one line and without what a terminal would obey.
std::string printable(std::string name) {
  std::ranges::replace_if(name, [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }, '?');
  return name;
}

// A size that may be written once or once per layer; all layers must agree.
Result<std::optional<int>> uniform_int(const GgufFile& file, std::string_view suffix) {
  const std::string key = key_of(file, suffix);
  RESTKV_ASSIGN(auto values, file.integers(key));
  if (!values || values->empty()) return std::optional<int>();
  const std::int64_t first = values->front();
  for (const std::int64_t value : *values) {
    if (value != first) return unsupported(file, "layers differ in " + key);
  }
  if (first < 1 || first > kMaxDimension) {
    return corrupt(file, key + " = " + std::to_string(first) + " is out of range");
  }
  return std::optional<int>(static_cast<int>(first));
}

Result<int> required_uniform_int(const GgufFile& file, std::string_view suffix) {
  RESTKV_ASSIGN(auto value, uniform_int(file, suffix));
  if (!value) return corrupt(file, "missing key " + key_of(file, suffix));
  return *value;
}

const FamilyInfo* find_family(std::string_view name) {
  for (const FamilyInfo* family : all_families()) {
    if (family->name == name) return family;
  }
  return nullptr;
}

Error unknown_family(const GgufFile& file) {
  return unsupported(file, "architecture '" + file.architecture() +
                               "' (known: " + listed(all_families(), &FamilyInfo::name) + ")");
}

Result<void> read_sizes(const GgufFile& file, ModelConfig& config) {
  RESTKV_ASSIGN(config.n_layer, required_int(file, "block_count"));
  if (config.n_layer > kMaxLayers)
    return corrupt(file, key_of(file, "block_count") + " is out of range");
  RESTKV_ASSIGN(config.n_embd, required_int(file, "embedding_length"));
  RESTKV_ASSIGN(config.n_ctx_train, required_int(file, "context_length"));
  RESTKV_ASSIGN(config.n_ff, required_uniform_int(file, "feed_forward_length"));
  RESTKV_ASSIGN(config.n_head, required_uniform_int(file, "attention.head_count"));
  RESTKV_ASSIGN(auto n_kv_head, uniform_int(file, "attention.head_count_kv"));
  config.n_kv_head = n_kv_head.value_or(config.n_head);
  if (config.n_embd > kMaxDimension)
    return corrupt(file, key_of(file, "embedding_length") + " is out of range");
  if (config.n_head % config.n_kv_head != 0) {
    return corrupt(file, std::to_string(config.n_head) + " query heads cannot share " +
                             std::to_string(config.n_kv_head) + " KV heads");
  }
  RESTKV_ASSIGN(auto key_length, uniform_int(file, "attention.key_length"));
  RESTKV_ASSIGN(auto value_length, uniform_int(file, "attention.value_length"));
  const int shared = config.n_embd / config.n_head;
  config.head_dim = key_length.value_or(shared);
  if (value_length.value_or(shared) != config.head_dim) {
    return unsupported(file, "keys and values of different length");
  }
  if (config.head_dim < 2 || config.head_dim > static_cast<int>(kMaxHeadDim) ||
      config.head_dim % 2 != 0) {
    return corrupt(file, "head dimension " + std::to_string(config.head_dim) + " is out of range");
  }
  RESTKV_ASSIGN(auto n_rot, uniform_int(file, "rope.dimension_count"));
  config.n_rot = n_rot.value_or(config.head_dim);
  if (config.n_rot > config.head_dim || config.n_rot % 2 != 0) {
    return corrupt(file, key_of(file, "rope.dimension_count") + " = " +
                             std::to_string(config.n_rot) + " does not fit a head of " +
                             std::to_string(config.head_dim));
  }
  RESTKV_ASSIGN(auto eps, optional_number(file, "attention.layer_norm_rms_epsilon"));
  if (!eps) return corrupt(file, "missing key " + key_of(file, "attention.layer_norm_rms_epsilon"));
  if (*eps < 0 || *eps > 1) return corrupt(file, "the norm's epsilon is out of range");
  config.norm_eps = static_cast<float>(*eps);
  return {};
}

// What libllama would honour in a file of a known family, and this forward pass does not do.
Result<void> refuse_what_is_not_done(const GgufFile& file, const ModelConfig& config) {
  RESTKV_ASSIGN(auto experts, optional_int(file, "expert_count"));
  if (experts.value_or(0) != 0) return unsupported(file, "a mixture of experts");
  RESTKV_ASSIGN(auto causal, file.boolean(key_of(file, "attention.causal")));
  if (!causal.value_or(true)) return unsupported(file, "attention that is not causal");
  RESTKV_ASSIGN(auto nextn, optional_int(file, "nextn_predict_layers"));
  if (nextn.value_or(0) != 0) return unsupported(file, "layers that predict several tokens");
  struct Size {
    const char* suffix;
    int usual;
  };
  for (const Size& size : {Size{"attention.key_length_swa", config.head_dim},
                           Size{"attention.value_length_swa", config.head_dim},
                           Size{"rope.dimension_count_swa", config.n_rot}}) {
    RESTKV_ASSIGN(auto value, optional_int(file, size.suffix));
    if (value.value_or(size.usual) == size.usual) continue;
    return unsupported(file, "sliding layers that differ in shape: " + key_of(file, size.suffix) +
                                 " = " + std::to_string(*value));
  }
  return {};
}

Result<RopeScaling> rope_scaling_of(const GgufFile& file) {
  const std::string key = key_of(file, "rope.scaling.type");
  RESTKV_ASSIGN(auto type, file.text(key));
  if (!type || *type == "linear") return RopeScaling::kLinear;
  if (*type == "none") return RopeScaling::kNone;
  if (*type == "yarn") return RopeScaling::kYarn;
  return unsupported(file, key + " " + quoted(*type) + " (known: none, linear, yarn)");
}

// The rules by which libllama combines the file's keys with what a user asked for.
Result<void> read_rope(const GgufFile& file, const RopeOverrides& overrides, ModelConfig& config) {
  RESTKV_ASSIGN(const RopeScaling file_scaling, rope_scaling_of(file));
  const RopeScaling scaling = overrides.scaling.value_or(file_scaling);
  RESTKV_ASSIGN(RopeConfig rope, rope_of_file(file));
  RESTKV_ASSIGN(auto attn_factor, optional_number(file, "rope.scaling.attn_factor"));
  RESTKV_ASSIGN(auto original, optional_int(file, "rope.scaling.original_context_length"));

  rope.base = overrides.freq_base.value_or(rope.base);
  rope.freq_scale = overrides.freq_scale.value_or(rope.freq_scale);
  if (scaling == RopeScaling::kNone) rope.freq_scale = 1.0;
  RESTKV_ASSIGN(rope, checked_rope(file, rope));

  YarnConfig& yarn = config.yarn;
  // 0 is none, from the user as in the file.
  yarn.original_context = overrides.yarn_original_context.value_or(0);
  if (yarn.original_context == 0) yarn.original_context = original.value_or(0);
  if (yarn.original_context == 0) yarn.original_context = config.n_ctx_train;
  yarn.ext_factor = overrides.yarn_ext_factor.value_or(scaling == RopeScaling::kYarn ? 1.0 : 0.0);
  yarn.beta_fast = overrides.yarn_beta_fast.value_or(32.0);
  yarn.beta_slow = overrides.yarn_beta_slow.value_or(1.0);
  yarn.attn_factor = overrides.yarn_attn_factor.value_or(1.0);
  if (yarn.ext_factor != 0.0) {
    // With YaRN on, libllama sets the magnitude so that the correction inside the rotation (1 + 0.1
    // ln s) is applied once.
    const double s = 1.0 / rope.freq_scale;
    const double magnitude = s <= 1.0 ? 1.0 : 0.1 * std::log(s) + 1.0;
    yarn.attn_factor = magnitude / (1.0 + 0.1 * std::log(s));
  }
  yarn.attn_factor *= attn_factor.value_or(1.0);
  for (LayerConfig& layer : config.layers) layer.rope = rope;
  return {};
}

Result<void> check_vocabulary_size(const GgufFile& file, ModelConfig& config) {
  const TensorData* embedding = file.tensor("token_embd.weight");
  if (embedding == nullptr) return corrupt(file, "missing tensor token_embd.weight");
  if (embedding->n_row() < 1 || embedding->n_row() > std::numeric_limits<Token>::max()) {
    return corrupt(file, "tensor " + embedding->describe() + " has no rows");
  }
  config.n_vocab = static_cast<int>(embedding->n_row());
  const auto tokens = file.array_size("tokenizer.ggml.tokens");
  if (tokens && *tokens != static_cast<std::size_t>(config.n_vocab)) {
    return corrupt(file, "tensor " + embedding->describe() + " does not match the vocabulary of " +
                             std::to_string(*tokens) + " tokens");
  }
  return {};
}

}  // namespace

Result<ModelConfig> read_config(const GgufFile& file, const RopeOverrides& overrides) {
  const FamilyInfo* family = find_family(file.architecture());
  if (family == nullptr) return unknown_family(file);
  ModelConfig config;
  config.architecture = file.architecture();
  RESTKV_ASSIGN(auto name, file.text("general.name"));
  config.name = printable(name.value_or(""));
  RESTKV_TRY(read_sizes(file, config));
  RESTKV_TRY(refuse_what_is_not_done(file, config));
  RESTKV_TRY(check_vocabulary_size(file, config));
  config.layers.resize(static_cast<std::size_t>(config.n_layer));
  RESTKV_TRY(read_rope(file, overrides, config));
  config.attention_scale = 1.0F / std::sqrt(static_cast<float>(config.head_dim));
  RESTKV_TRY(family->configure(file, config));
  return config;
}

Result<int> required_int(const GgufFile& file, std::string_view suffix) {
  const std::string key = key_of(file, suffix);
  RESTKV_ASSIGN(auto value, file.integer(key));
  if (!value) return corrupt(file, "missing key " + key);
  if (*value < 1 || *value > std::numeric_limits<int>::max()) {
    return corrupt(file, key + " = " + std::to_string(*value) + " is out of range");
  }
  return static_cast<int>(*value);
}

Result<std::optional<double>> optional_number(const GgufFile& file, std::string_view suffix) {
  const std::string key = key_of(file, suffix);
  return file.number(key);
}

Result<float> softcap_of(const GgufFile& file, std::string_view suffix, float usual) {
  RESTKV_ASSIGN(auto cap, optional_number(file, suffix));
  if (!cap) return usual;
  if (*cap == 0 && usual == 0) return 0.0F;
  constexpr double kMost = 1e6;
  if (*cap > 0 && *cap <= kMost) return static_cast<float>(*cap);
  return corrupt(file, key_of(file, suffix) + " = " + std::to_string(*cap) + " is out of range");
}

Result<std::optional<int>> optional_int(const GgufFile& file, std::string_view suffix) {
  const std::string key = key_of(file, suffix);
  RESTKV_ASSIGN(auto value, file.integer(key));
  if (!value) return std::optional<int>();
  if (*value < 0 || *value > std::numeric_limits<int>::max()) {
    return corrupt(file, key + " = " + std::to_string(*value) + " is out of range");
  }
  return std::optional<int>(static_cast<int>(*value));
}

Result<RopeConfig> checked_rope(const GgufFile& file, const RopeConfig& rope) {
  if (!(rope.base > 1.0) || !(rope.freq_scale > 0.0) || rope.freq_scale > 1e6) {
    return corrupt(file, "RoPE base or scaling factor is out of range");
  }
  return rope;
}

Result<RopeConfig> rope_of_file(const GgufFile& file) {
  RESTKV_ASSIGN(auto base, optional_number(file, "rope.freq_base"));
  RESTKV_ASSIGN(auto factor, optional_number(file, "rope.scaling.factor"));
  if (!factor) {
    RESTKV_ASSIGN(factor, optional_number(file, "rope.scale_linear"));
  }
  return checked_rope(file, {.base = base.value_or(10000.0),
                             .freq_scale = factor.value_or(0.0) == 0.0 ? 1.0 : 1.0 / *factor});
}

Result<void> apply_sliding_window(const GgufFile& file, int window, int default_period,
                                  ModelConfig& config) {
  const std::string key = key_of(file, "attention.sliding_window_pattern");
  if (file.array_size(key)) {
    RESTKV_ASSIGN(auto pattern, file.integers(key));
    if (!pattern || pattern->size() < config.layers.size()) {
      return corrupt(file, key + " has fewer entries than the model has layers");
    }
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      if ((*pattern)[i] != 0) config.layers[i].sliding_window = window;
    }
    return {};
  }
  RESTKV_ASSIGN(auto own_period, file.integer(key));
  const std::int64_t period = own_period.value_or(default_period);
  if (period < 0 || period > kMaxLayers) return corrupt(file, key + " is out of range");
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = period == 0 || static_cast<std::int64_t>(i) % period < period - 1;
    if (sliding) config.layers[i].sliding_window = window;
  }
  return {};
}

}  // namespace restkv
