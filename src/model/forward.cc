// The forward pass of one layer, top to bottom.

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/linear_algebra.h"
#include "model/model.h"

namespace restkv {
namespace {

View2<float> view(AlignedArray<float>& buffer, std::size_t rows, std::size_t cols) {
  buffer.reserve(rows * cols);
  return {buffer.data(), rows, cols};
}

// Rows of a chunk that one work item handles in the cheap per-row loops.
constexpr std::size_t kRowsPerItem = 8;

template <typename Body>
void for_each_row(const Threads& threads, std::size_t rows, const Body& body) {
  threads.for_each((rows + kRowsPerItem - 1) / kRowsPerItem, [&](std::size_t item) {
    const std::size_t end = std::min(rows, (item + 1) * kRowsPerItem);
    for (std::size_t i = item * kRowsPerItem; i < end; ++i) body(i);
  });
}

void norm_rows(const Pass& pass, View2<const float> x, const std::vector<float>& weight, float eps,
               View2<float> out) {
  for_each_row(pass.threads, x.rows, [&](std::size_t i) {
    pass.kernels.rms_norm(x.row(i).data(), weight.data(), eps, out.row(i).data(), x.cols);
  });
}

// Adds a branch's result to the residual stream, through its post norm if the family has one.
void add_branch(const Pass& pass, View2<float> branch, const std::vector<float>& post_norm,
                float eps, View2<float> hidden) {
  for_each_row(pass.threads, branch.rows, [&](std::size_t i) {
    float* row = branch.row(i).data();
    if (!post_norm.empty()) {
      pass.kernels.rms_norm(row, post_norm.data(), eps, row, branch.cols);
    }
    pass.kernels.add(row, hidden.row(i).data(), branch.cols);
  });
}

// Head norms (if any) and rotation of all heads of one row.
void prepare_heads(const Pass& pass, const ModelConfig& config, const std::vector<float>& norm,
                   std::size_t row_index, std::span<float> heads) {
  const auto head_dim = static_cast<std::size_t>(config.head_dim);
  const float* angles = pass.buffers.angles.row(row_index);
  for (std::size_t at = 0; at < heads.size(); at += head_dim) {
    float* head = heads.data() + at;
    if (!norm.empty()) {
      pass.kernels.rms_norm(head, norm.data(), config.norm_eps, head, head_dim);
    }
    if (config.rope_style == RopeStyle::kAdjacent) {
      pass.kernels.rope_adjacent(head, angles, static_cast<std::size_t>(config.n_rot));
    } else {
      pass.kernels.rope_halves(head, angles, static_cast<std::size_t>(config.n_rot));
    }
  }
}

}  // namespace

void Model::embed(const Pass& pass, std::span<const Token> tokens, View2<float> hidden) const {
  RESTKV_CHECK(hidden.rows == tokens.size());
  for_each_row(pass.threads, tokens.size(), [&](std::size_t i) {
    const std::span<float> row = hidden.row(i);
    embedding_.expand_row(static_cast<std::size_t>(tokens[i]), row.data());
    if (config_.embedding_scale != 1.0F) {
      for (float& x : row) x *= config_.embedding_scale;
    }
  });
}

void Model::project_qkv(const Pass& pass, int layer, View2<const float> hidden,
                        std::span<const Position> positions, View2<float> q, View2<float> k,
                        View2<float> v) const {
  RESTKV_DCHECK(holds(static_cast<std::size_t>(layer)));
  const LayerWeights& weights = layers_[static_cast<std::size_t>(layer)];
  const LayerConfig& layer_config = config_.layers[static_cast<std::size_t>(layer)];
  const View2<float> normed = view(pass.buffers.normed, hidden.rows, hidden.cols);
  norm_rows(pass, hidden, weights.attention_norm, config_.norm_eps, normed);

  const Linear::Task tasks[] = {{&weights.query, pass.products.of(weights.query), q},
                                {&weights.key, pass.products.of(weights.key), k},
                                {&weights.value, pass.products.of(weights.value), v}};
  Linear::forward_all(pass.threads, pass.buffers.linear, normed, tasks);

  pass.buffers.angles.compute(layer_config.rope, config_.yarn, config_.n_rot, rope_factors_,
                              positions);
  for_each_row(pass.threads, hidden.rows, [&](std::size_t i) {
    prepare_heads(pass, config_, weights.query_norm, i, q.row(i));
    prepare_heads(pass, config_, weights.key_norm, i, k.row(i));
  });
}

void Model::finish_layer(const Pass& pass, int layer, View2<const float> attention,
                         View2<float> hidden) const {
  RESTKV_DCHECK(holds(static_cast<std::size_t>(layer)));
  const LayerWeights& weights = layers_[static_cast<std::size_t>(layer)];
  const std::size_t rows = hidden.rows;
  PassBuffers& buffers = pass.buffers;

  const View2<float> branch = view(buffers.branch, rows, hidden.cols);
  weights.output.forward(pass.threads, pass.products.of(weights.output), buffers.linear, attention,
                         branch);
  add_branch(pass, branch, weights.attention_post_norm, config_.norm_eps, hidden);

  const View2<float> normed = view(buffers.normed, rows, hidden.cols);
  norm_rows(pass, hidden, weights.mlp_norm, config_.norm_eps, normed);
  const View2<float> gate = view(buffers.gate, rows, static_cast<std::size_t>(config_.n_ff));
  const View2<float> up = view(buffers.up, rows, static_cast<std::size_t>(config_.n_ff));
  const Linear::Task tasks[] = {{&weights.gate, pass.products.of(weights.gate), gate},
                                {&weights.up, pass.products.of(weights.up), up}};
  Linear::forward_all(pass.threads, buffers.linear, normed, tasks);
  for_each_row(pass.threads, rows, [&](std::size_t i) {
    const auto activate =
        config_.activation == Activation::kSilu ? pass.kernels.silu_mul : pass.kernels.gelu_mul;
    activate(gate.row(i).data(), up.row(i).data(), gate.cols);
  });
  weights.down.forward(pass.threads, pass.products.of(weights.down), buffers.linear, gate, branch);
  add_branch(pass, branch, weights.mlp_post_norm, config_.norm_eps, hidden);
}

void Model::logits(const Pass& pass, View2<const float> hidden, View2<float> out) const {
  RESTKV_DCHECK(holds(layers_.size()));
  const View2<float> normed = view(pass.buffers.normed, hidden.rows, hidden.cols);
  norm_rows(pass, hidden, final_norm_, config_.norm_eps, normed);
  output_.forward(pass.threads, pass.products.of(output_), pass.buffers.linear, normed, out);
  if (config_.final_softcap <= 0) return;
  for_each_row(pass.threads, out.rows, [&](std::size_t i) {
    for (float& x : out.row(i)) x = config_.final_softcap * std::tanh(x / config_.final_softcap);
  });
}

View3<const float> Model::output_factors(const KernelTable& kernels, const Threads& threads,
                                         int layer) const {
  Factors& factors = *factors_[static_cast<std::size_t>(layer)];
  const auto n_head = static_cast<std::size_t>(config_.n_head);
  const auto head_dim = static_cast<std::size_t>(config_.head_dim);
  const auto n_embd = static_cast<std::size_t>(config_.n_embd);
  std::call_once(factors.once, [&] {
    // What stays is taken first: behind it, the heap can close over what goes.
    AlignedArray<float> result(n_head * head_dim * head_dim);
    AlignedArray<float> columns(n_head * head_dim * n_embd);
    output_columns(layer, {columns.data(), n_head, head_dim, n_embd});
    threads.for_each(n_head, [&](std::size_t h) {
      triangular_factor(kernels, columns.data() + h * head_dim * n_embd, n_embd, head_dim,
                        result.data() + h * head_dim * head_dim);
    });
    factors.data = std::move(result);
  });
  return {factors.data.data(), n_head, head_dim, head_dim};
}

// Column c of head h is what element c of the head adds to the hidden state.
void Model::output_columns(int layer, View3<float> out) const {
  const Linear& output = layers_[static_cast<std::size_t>(layer)].output;
  RESTKV_CHECK(out.data != nullptr);
  std::vector<float> row(out.planes * out.rows);
  for (std::size_t e = 0; e < out.cols; ++e) {
    output.expand_row(e, row.data());
    for (std::size_t c = 0; c < row.size(); ++c) out.data[c * out.cols + e] = row[c];
  }
}

void Model::give_back_pages() const {
  const std::byte* first = nullptr;
  const std::byte* last = nullptr;
  for (const TensorData& tensor : file_->tensors()) {
    if (first == nullptr || tensor.data < first) first = tensor.data;
    last = std::max(last, tensor.data + tensor.bytes);
  }
  file_->give_back({first, last});
}

RopeFrequencies Model::rope_frequencies(int layer) const {
  return restkv::rope_frequencies(config_.layers[static_cast<std::size_t>(layer)].rope,
                                  config_.yarn, config_.n_rot, rope_factors_);
}

}  // namespace restkv
