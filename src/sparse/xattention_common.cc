#include "sparse/xattention_common.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace restkv {
namespace {

std::size_t ceil_div(std::size_t n, std::size_t by) { return (n + by - 1) / by; }

// Folded queries of the input, then one folded key, then the logits.
struct Layout {
  Layout(const XAttentionInput& input, const XAttentionSize& size)
      : width(size.stride * input.head_dim),
        queries(ceil_div(input.count, size.stride)),
        keys(ceil_div(input.first + input.count, size.stride)) {}
  std::size_t width;    // of a folded row
  std::size_t queries;  // folded
  std::size_t keys;     // folded
  [[nodiscard]] std::size_t size() const { return (queries + 1) * width + queries * keys; }
};

void fold_queries(const XAttentionInput& input, std::size_t stride, const Layout& layout,
                  float* out) {
  const std::size_t d = input.head_dim;
  std::fill_n(out, layout.queries * layout.width, 0.0F);
  for (std::size_t token = 0; token < input.count; ++token) {
    const std::size_t place = stride - 1 - token % stride;
    std::copy_n(input.q + token * input.token_stride, d,
                out + token / stride * layout.width + place * d);
  }
}

// Softmax of one folded query over its folded keys, added up by key block.
void add_row(std::span<float> logits, std::size_t folds_per_block, std::span<float> sums) {
  const float max = *std::ranges::max_element(logits);
  double total = 0;
  for (float& logit : logits) {
    logit = std::exp(logit - max);
    total += logit;
  }
  const auto share = static_cast<float>(1.0 / total);
  for (std::size_t j = 0; j < logits.size(); ++j) sums[j / folds_per_block] += logits[j] * share;
}

}  // namespace

std::size_t xattention_scratch(const XAttentionInput& input, const XAttentionSize& size) {
  return Layout(input, size).size();
}

void xattention_sums(const XAttentionInput& input, const XAttentionSize& size,
                     const KernelTable& kernels, std::span<float> scratch, View2<float> sums) {
  const Layout layout(input, size);
  float* const queries = scratch.data();
  float* const key = queries + layout.queries * layout.width;
  const View2<float> logits(key + layout.width, layout.queries, layout.keys);
  fold_queries(input, size.stride, layout, queries);

  const std::size_t n = input.first + input.count;
  const std::size_t first_fold = input.first / size.stride;
  const std::size_t row_bytes = kv_row_bytes(input.keys.type, input.head_dim);
  const float scale = input.rule.scale / static_cast<float>(size.stride);
  const float cap = input.rule.softcap;
  for (std::size_t j = 0; j < layout.keys; ++j) {
    const std::size_t row = j * size.stride;
    const std::size_t rows = std::min(size.stride, n - row);
    kernels.decode_row(input.keys.type, input.keys.data + row * row_bytes, key,
                       rows * input.head_dim);
    std::fill_n(key + rows * input.head_dim, (size.stride - rows) * input.head_dim, 0.0F);
    for (std::size_t i = j > first_fold ? j - first_fold : 0; i < layout.queries; ++i) {
      const float logit = kernels.dot(queries + i * layout.width, key, layout.width) * scale;
      logits.row(i)[j] = cap > 0 ? cap * std::tanh(logit / cap) : logit;
    }
  }

  const std::size_t folds = size.block / size.stride;
  for (std::size_t q = 0; q < sums.rows; ++q) std::ranges::fill(sums.row(q), 0.0F);
  for (std::size_t i = 0; i < layout.queries; ++i) {
    add_row(logits.row(i).first(first_fold + i + 1), folds, sums.row(i / folds));
  }
}

void choose_xattention_blocks(std::span<const float> sums, double threshold,
                              std::span<std::uint32_t> order, std::span<std::uint8_t> chosen) {
  const std::size_t diagonal = sums.size() - 1;
  std::ranges::fill(chosen, std::uint8_t{0});
  chosen[0] = 1;
  chosen[diagonal] = 1;
  double total = 0;
  for (const float sum : sums) total += sum;
  double held = sums[0];
  if (diagonal > 0) held += sums[diagonal];
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
    return sums[a] != sums[b] ? sums[a] > sums[b] : a < b;
  });
  for (const std::uint32_t block : order) {
    if (threshold < 1.0 && held >= threshold * total) return;
    if (chosen[block] != 0) continue;
    chosen[block] = 1;
    held += sums[block];
  }
}

}  // namespace restkv
