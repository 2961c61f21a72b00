#include "cli/bench_work.h"

#include <algorithm>

namespace restkv {
namespace {

double row_bytes(const ModelInfo& model, const KvOptions& kv) {
  const auto dim = static_cast<std::size_t>(model.head_dim);
  return static_cast<double>(kv_row_bytes(kv.type_k, dim) + kv_row_bytes(kv.type_v, dim));
}

// Of one query head against one row: a product with the key, and one with the value.
double pair_flops(const ModelInfo& model) { return 4.0 * model.head_dim; }

// Sum over i < n of min(limit, first + i): rows that n queries see, one after the other.
double rows_seen(std::size_t n, double first, double limit) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::min(limit, first + static_cast<double>(i));
  return sum;
}

// Rows before the prompt in one head of a layer without a window, on average.
double rows_of_open_head(const ModelInfo& model, std::size_t depth, std::size_t rows) {
  double left = static_cast<double>(rows);
  double open_layers = 0;
  for (const int window : model.sliding_windows) {
    if (window > 0) {
      left -= static_cast<double>(model.n_kv_head) *
              std::min(static_cast<double>(window), static_cast<double>(depth));
    } else {
      ++open_layers;
    }
  }
  return open_layers > 0 ? std::max(0.0, left) / (open_layers * model.n_kv_head) : 0;
}

}  // namespace

PhaseWork prefill_work(const ModelInfo& model, const KvOptions& kv, std::size_t n_token,
                       std::size_t depth, const RowCounts& rows) {
  if (n_token == 0) return {};
  const auto n = static_cast<double>(n_token);
  const WeightCounts& weights = model.weights;
  const double rest_of_a_layer = static_cast<double>(weights.rest) / model.n_layer;
  PhaseWork work;
  work.product_flops += 2.0 * n * static_cast<double>(weights.projections);
  work.product_flops += 2.0 * n * rest_of_a_layer * (model.n_layer - 1);
  work.product_flops += 2.0 * (rest_of_a_layer + static_cast<double>(weights.output));
  const double open_rows = rows_of_open_head(model, depth, rows.before);
  for (int layer = 0; layer < model.n_layer; ++layer) {
    const int window = model.sliding_windows[static_cast<std::size_t>(layer)];
    const double first = (window > 0 ? static_cast<double>(depth) : open_rows) + 1;
    const double limit = window > 0 ? window : first + n;
    const double seen = layer + 1 < model.n_layer ? rows_seen(n_token, first, limit)
                                                  : std::min(limit, first + n - 1);
    const double density =
        rows.density.empty() ? 1.0 : rows.density[static_cast<std::size_t>(layer)];
    work.attention_flops += pair_flops(model) * model.n_head * seen * density;
  }
  work.bytes += static_cast<double>(weights.decode_bytes);
  work.bytes += static_cast<double>(rows.before + rows.after) * row_bytes(model, kv);
  return work;
}

PhaseWork decode_work(const ModelInfo& model, const KvOptions& kv, std::size_t n_token,
                      const RowCounts& rows) {
  const auto n = static_cast<double>(n_token);
  const WeightCounts& weights = model.weights;
  const auto elements = static_cast<double>(weights.projections + weights.rest + weights.output);
  // A step appends its row and then sees it.
  const double heads = static_cast<double>(model.n_layer) * model.n_kv_head;
  const double mean_rows =
      n > 0 ? (static_cast<double>(rows.before + rows.after) + heads) / 2.0 : 0.0;
  const double read = mean_rows * rows.read_share;
  const double group = static_cast<double>(model.n_head) / model.n_kv_head;
  return {.product_flops = n * 2.0 * elements,
          .attention_flops = n * pair_flops(model) * group * read,
          .bytes = n * (static_cast<double>(weights.decode_bytes + rows.summary_bytes) +
                        read * row_bytes(model, kv))};
}

}  // namespace restkv
