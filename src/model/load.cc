// Model::load: every tensor is looked up by name, its shape checked, and small ones copied to f32.

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "model/model.h"

namespace restkv {
namespace {

Error missing(const GgufFile& file, const std::string& name) {
  return {ErrorCode::kCorrupt, file.path() + ": missing tensor " + name};
}

Error at(const GgufFile& file, Error error) {
  error.message = file.path() + ": " + error.message;
  return error;
}

// Looks tensors up by name and remembers which: one that nobody asks for means that the model is
// not what its family's name says, and would answer wrongly without it.
class TensorSource {
 public:
  explicit TensorSource(const GgufFile& file) : file_(file) {}

  [[nodiscard]] const GgufFile& file() const { return file_; }
  const TensorData* find(const std::string& name) {
    const TensorData* tensor = file_.tensor(name);
    if (tensor != nullptr) used_.insert(tensor);
    return tensor;
  }
  [[nodiscard]] Result<void> check_all_used() const {
    for (const TensorData& tensor : file_.tensors()) {
      if (used_.contains(&tensor)) continue;
      return Error{ErrorCode::kUnsupported, file_.path() + ": tensor " + tensor.describe() +
                                                " is no part of a " + file_.architecture() +
                                                " model that can be run here"};
    }
    return {};
  }

 private:
  const GgufFile& file_;
  std::unordered_set<const TensorData*> used_;
};

enum class Presence : std::uint8_t { kRequired, kOptional };

// A vector of n numbers as f32.
Result<std::vector<float>> load_vector(TensorSource& source, const std::string& name, std::size_t n,
                                       Presence presence) {
  const GgufFile& file = source.file();
  const TensorData* tensor = source.find(name);
  if (tensor == nullptr) {
    if (presence == Presence::kOptional) return std::vector<float>();
    return missing(file, name);
  }
  if (tensor->n_row() != 1) {
    return Error{ErrorCode::kCorrupt, file.path() + ": tensor " + tensor->describe() +
                                          " should have " + std::to_string(n) + " elements"};
  }
  auto linear = Linear::make(*tensor, nullptr, n, 1);
  if (!linear.ok()) return at(file, linear.error());
  std::vector<float> values(n);
  linear->expand_row(0, values.data());
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return Error{ErrorCode::kCorrupt, file.path() + ": tensor " + name + " is not finite"};
    }
  }
  return values;
}

struct MatrixShape {
  std::size_t n_in = 0;
  std::size_t n_out = 0;
};

// A matrix and what is added to its product, if there is such a tensor.
Result<Linear> load_matrix(TensorSource& source, const std::string& name, const TensorData* bias,
                           MatrixShape shape) {
  const TensorData* tensor = source.find(name);
  if (tensor == nullptr) return missing(source.file(), name);
  auto linear = Linear::make(*tensor, bias, shape.n_in, shape.n_out);
  if (!linear.ok()) return at(source.file(), linear.error());
  return linear;
}

// The matrix "<stem>.weight" with its optional "<stem>.bias".
Result<Linear> load_linear(TensorSource& source, const std::string& stem, MatrixShape shape) {
  return load_matrix(source, stem + ".weight", source.find(stem + ".bias"), shape);
}

Result<LayerWeights> load_layer(TensorSource& source, const ModelConfig& config, int layer) {
  LayerWeights weights;
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const auto n_embd = static_cast<std::size_t>(config.n_embd);
  const auto n_ff = static_cast<std::size_t>(config.n_ff);
  const auto head_dim = static_cast<std::size_t>(config.head_dim);
  const std::size_t q_size = config.q_size();
  const std::size_t kv_size = config.kv_size();
  const auto vector = [&](const char* name, std::size_t n) {
    return load_vector(source, prefix + name + ".weight", n, Presence::kRequired);
  };

  if (source.find(prefix + "attn_qkv.weight") != nullptr) {
    return Error{ErrorCode::kUnsupported,
                 source.file().path() + ": fused tensor " + prefix + "attn_qkv.weight"};
  }
  RESTKV_ASSIGN(weights.attention_norm, vector("attn_norm", n_embd));
  RESTKV_ASSIGN(weights.mlp_norm, vector("ffn_norm", n_embd));
  if (config.has_qk_norm) {
    RESTKV_ASSIGN(weights.query_norm, vector("attn_q_norm", head_dim));
    RESTKV_ASSIGN(weights.key_norm, vector("attn_k_norm", head_dim));
  }
  if (config.has_post_norms) {
    RESTKV_ASSIGN(weights.attention_post_norm, vector("post_attention_norm", n_embd));
    RESTKV_ASSIGN(weights.mlp_post_norm, vector("post_ffw_norm", n_embd));
  }
  RESTKV_ASSIGN(weights.query, load_linear(source, prefix + "attn_q", {n_embd, q_size}));
  RESTKV_ASSIGN(weights.key, load_linear(source, prefix + "attn_k", {n_embd, kv_size}));
  RESTKV_ASSIGN(weights.value, load_linear(source, prefix + "attn_v", {n_embd, kv_size}));
  RESTKV_ASSIGN(weights.output, load_linear(source, prefix + "attn_output", {q_size, n_embd}));
  RESTKV_ASSIGN(weights.gate, load_linear(source, prefix + "ffn_gate", {n_embd, n_ff}));
  RESTKV_ASSIGN(weights.up, load_linear(source, prefix + "ffn_up", {n_embd, n_ff}));
  RESTKV_ASSIGN(weights.down, load_linear(source, prefix + "ffn_down", {n_ff, n_embd}));
  return weights;
}

// A file whose key says something else than a small number has no type that could be named.
std::optional<int> file_type_of(const GgufFile& file) {
  const auto type = file.integer("general.file_type");
  if (!type.ok() || !*type || **type < 0 || **type > 1024) return std::nullopt;
  return static_cast<int>(**type);
}

}  // namespace

Result<std::unique_ptr<Model>> Model::load(const std::shared_ptr<const GgufFile>& file,
                                           const RopeOverrides& overrides) {
  try {
    auto model = std::unique_ptr<Model>(new Model());
    model->file_ = file;
    const GgufFile& gguf = *model->file_;
    TensorSource source(gguf);
    RESTKV_ASSIGN(model->config_, read_config(gguf, overrides));
    const ModelConfig& config = model->config_;
    const auto n_embd = static_cast<std::size_t>(config.n_embd);
    const auto n_vocab = static_cast<std::size_t>(config.n_vocab);

    const char* embedding = "token_embd.weight";
    RESTKV_ASSIGN(model->embedding_, load_matrix(source, embedding, nullptr, {n_embd, n_vocab}));
    const bool tied = gguf.tensor("output.weight") == nullptr;
    RESTKV_ASSIGN(model->output_, load_matrix(source, tied ? embedding : "output.weight",
                                              source.find("output.bias"), {n_embd, n_vocab}));
    RESTKV_ASSIGN(model->final_norm_,
                  load_vector(source, "output_norm.weight", n_embd, Presence::kRequired));
    if (config.may_have_rope_factors) {
      RESTKV_ASSIGN(model->rope_factors_,
                    load_vector(source, "rope_freqs.weight",
                                static_cast<std::size_t>(config.n_rot) / 2, Presence::kOptional));
    }
    for (const float factor : model->rope_factors_) {
      if (!(factor > 0)) {
        return Error{ErrorCode::kCorrupt, gguf.path() + ": rope_freqs.weight is not positive"};
      }
    }
    model->layers_.resize(static_cast<std::size_t>(config.n_layer));
    for (int layer = 0; layer < config.n_layer; ++layer) {
      auto& weights = model->layers_[static_cast<std::size_t>(layer)];
      RESTKV_ASSIGN(weights, load_layer(source, config, layer));
    }
    model->fingerprint_ = model->make_fingerprint();
    RESTKV_TRY(source.check_all_used());
    model->factors_.resize(static_cast<std::size_t>(config.n_layer));
    for (auto& factors : model->factors_) factors = std::make_unique<Factors>();
    return model;
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory, file->path() + ": no memory to load the model"};
  }
}

Result<void> Model::pack(const Threads& threads, const KernelTable& kernels) {
  PackedParts::Matrices parts;
  for (LayerWeights& layer : layers_) {
    parts.push_back({&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up,
                     &layer.down});
  }
  parts.push_back({&output_});
  try {
    packed_.emplace(parts, kernels,
                    [this](const Linear& matrix) { file_->give_back(matrix.data()); });
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory,
                 file_->path() + ": no memory for a packed copy of the weights (" +
                     std::to_string(PackedParts::bytes_of(parts, kernels)) + " bytes)"};
  }
  hold_packed(threads);
  return {};
}

void Model::let_go_of_packed() {
  for (std::size_t part = 0; packed_ && part < packed_->count(); ++part) packed_->let_go(part);
}

void Model::let_go_of_layer(int layer) {
  if (packed_) packed_->let_go(static_cast<std::size_t>(layer));
}

void Model::hold_layer(const Threads& threads, int layer) {
  if (packed_) packed_->hold(threads, static_cast<std::size_t>(layer));
}

void Model::hold_output(const Threads& threads) {
  if (packed_) packed_->hold(threads, layers_.size());
}

// The largest first: until it is done, the file's pages of it are in memory as well.
void Model::hold_packed(const Threads& threads) {
  hold_output(threads);
  for (int layer = 0; layer < config_.n_layer; ++layer) hold_layer(threads, layer);
}

bool Model::rows_depend_on_company(const PassProducts& products) const {
  for (const LayerWeights& layer : layers_) {
    for (const Linear* linear : layer.matrices()) {
      if (*linear && products.of(*linear) == Product::kExpandedGemm) return true;
    }
  }
  return false;
}

std::string Model::product_names(const PassProducts& products) const {
  std::vector<Product> used;
  for (const LayerWeights& layer : layers_) {
    for (const Linear* linear : layer.matrices()) {
      if (*linear) used.push_back(products.of(*linear));
    }
  }
  std::string names;
  for (const auto& [product, name] :
       {std::pair{Product::kPacked, "packed"}, std::pair{Product::kQuantised, "quantised"},
        std::pair{Product::kExpandedGemm, "expanded"}, std::pair{Product::kExactDot, "exact"}}) {
    if (std::ranges::find(used, product) == used.end()) continue;
    names.append(names.empty() ? "" : "+").append(name);
  }
  return names;
}

ModelInfo Model::info() const {
  const std::string& path = file_->path();
  const std::string file_name = path.substr(path.find_last_of('/') + 1);
  std::vector<int> sliding_windows;
  for (const LayerConfig& layer : config_.layers) sliding_windows.push_back(layer.sliding_window);
  return {.path = path,
          .name = config_.name.empty() ? file_name : config_.name,
          .architecture = config_.architecture,
          .fingerprint = fingerprint_,
          .n_layer = config_.n_layer,
          .n_embd = config_.n_embd,
          .n_head = config_.n_head,
          .n_kv_head = config_.n_kv_head,
          .head_dim = config_.head_dim,
          .n_vocab = config_.n_vocab,
          .n_ctx_train = config_.n_ctx_train,
          .file_bytes = file_->file_bytes(),
          .file_type = file_type_of(*file_),
          .sliding_windows = std::move(sliding_windows),
          .weights = count_weights()};
}

WeightCounts Model::count_weights() const {
  const auto size = [](const Linear& linear) { return linear.n_in() * linear.n_out(); };
  WeightCounts counts{.output = size(output_), .decode_bytes = decode_weight_bytes()};
  for (const TensorData& tensor : file_->tensors()) {
    counts.all += static_cast<std::size_t>(tensor.n_col() * tensor.n_row());
    counts.all_bytes += tensor.bytes;
  }
  for (const LayerWeights& layer : layers_) {
    counts.projections += size(layer.query) + size(layer.key) + size(layer.value);
    counts.rest += size(layer.output) + size(layer.gate) + size(layer.up) + size(layer.down);
  }
  return counts;
}

std::size_t Model::decode_weight_bytes() const {
  std::size_t bytes = output_.bytes();
  for (const LayerWeights& layer : layers_) {
    for (const Linear* linear : layer.matrices()) bytes += linear->bytes();
  }
  return bytes;
}

}  // namespace restkv
