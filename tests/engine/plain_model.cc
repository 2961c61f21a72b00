#include "engine/plain_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace restkv {

PlainModel::PlainModel(const std::string& path) {
  auto file = GgufFile::open(path, {});
  RESTKV_CHECK(file.ok());
  auto model = Model::load(*file, {});
  RESTKV_CHECK(model.ok());
  model_ = std::move(model).value();
}

Pass PlainModel::pass() {
  return {.kernels = best_table(),
          .threads = threads_,
          .products = {.phase = PassProducts::Phase::kPrefill,
                       .choice = ProductChoice::kF32,
                       .n_token = 1},
          .buffers = buffers_};
}

std::vector<float> PlainModel::embed(std::span<const Token> tokens) {
  const auto n_embd = static_cast<std::size_t>(config().n_embd);
  std::vector<float> hidden(tokens.size() * n_embd);
  model_->embed(pass(), tokens, {hidden.data(), tokens.size(), n_embd});
  return hidden;
}

PlainModel::Projected PlainModel::project(int layer, std::span<const float> hidden,
                                          std::span<const Position> positions) {
  const auto n_embd = static_cast<std::size_t>(config().n_embd);
  const std::size_t n = positions.size();
  Projected made{.q = std::vector<float>(n * config().q_size()),
                 .k = std::vector<float>(n * config().kv_size()),
                 .v = std::vector<float>(n * config().kv_size())};
  model_->project_qkv(pass(), layer, {hidden.data(), n, n_embd}, positions,
                      {made.q.data(), n, config().q_size()}, {made.k.data(), n, config().kv_size()},
                      {made.v.data(), n, config().kv_size()});
  return made;
}

std::vector<float> PlainModel::attend(int layer, std::span<const float> q, const Rows& rows,
                                      std::vector<std::vector<double>>* weights) {
  const auto dim = static_cast<std::size_t>(config().head_dim);
  const auto n_head = static_cast<std::size_t>(config().n_head);
  const auto group = static_cast<std::size_t>(config().group());
  const AttentionRule rule = config().attention_rule(layer);
  std::vector<float> out(q.size());
  if (weights != nullptr) weights->assign(n_head, {});
  for (std::size_t head = 0; head < n_head; ++head) {
    const std::size_t h = head / group;
    std::vector<double> shares(rows.count(h));
    double largest = -1e300;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      double logit = 0;
      for (std::size_t d = 0; d < dim; ++d) logit += double{q[head * dim + d]} * rows.key(h, i)[d];
      logit *= rule.scale;
      if (rule.softcap > 0) logit = rule.softcap * std::tanh(logit / rule.softcap);
      shares[i] = logit;
      largest = std::max(largest, logit);
    }
    double sum = 0;
    for (double& share : shares) sum += share = std::exp(share - largest);
    for (double& share : shares) share /= sum;
    for (std::size_t d = 0; d < dim; ++d) {
      double value = 0;
      for (std::size_t i = 0; i < shares.size(); ++i) value += shares[i] * rows.value(h, i)[d];
      out[head * dim + d] = static_cast<float>(value);
    }
    if (weights != nullptr) (*weights)[head] = std::move(shares);
  }
  return out;
}

PlainModel::Prompt PlainModel::read(std::span<const Token> tokens) {
  const auto dim = static_cast<std::size_t>(config().head_dim);
  std::vector<Position> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<float> hidden = embed(tokens);
  Prompt prompt;
  for (int layer = 0; layer < config().n_layer; ++layer) {
    const Projected& made = prompt.layers.emplace_back(project(layer, hidden, positions));
    const auto sliding = static_cast<std::size_t>(config().attention_rule(layer).sliding_window);
    std::vector<float> attended;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::size_t first = sliding > 0 && i + 1 > sliding ? i + 1 - sliding : 0;
      const auto at = [&](std::size_t h, std::size_t row) {
        return (first + row) * config().kv_size() + h * dim;
      };
      const std::vector<float> one = attend(
          layer, std::span(made.q).subspan(i * config().q_size(), config().q_size()),
          {.count = [&](std::size_t) { return i + 1 - first; },
           .key = [&](std::size_t h, std::size_t row) { return made.k.data() + at(h, row); },
           .value = [&](std::size_t h, std::size_t row) { return made.v.data() + at(h, row); }});
      attended.insert(attended.end(), one.begin(), one.end());
    }
    finish(layer, attended, hidden);
    prompt.hidden.push_back(hidden);
  }
  return prompt;
}

void PlainModel::finish(int layer, std::span<const float> attended, std::span<float> hidden) {
  const auto n_embd = static_cast<std::size_t>(config().n_embd);
  const std::size_t n = hidden.size() / n_embd;
  model_->finish_layer(pass(), layer, {attended.data(), n, config().q_size()},
                       {hidden.data(), n, n_embd});
}

std::vector<float> PlainModel::logits(std::span<const float> hidden) {
  const auto n_vocab = static_cast<std::size_t>(config().n_vocab);
  std::vector<float> logits(n_vocab);
  model_->logits(pass(), {hidden.data(), 1, hidden.size()}, {logits.data(), 1, n_vocab});
  return logits;
}

}  // namespace restkv
