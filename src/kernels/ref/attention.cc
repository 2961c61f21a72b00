// Attention by plain loops: one query, one row at a time, running maximum and sum.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/ref/operations.h"

namespace restkv::ref {
namespace {

float logit_of(const float* q, const std::byte* key, KvType type, std::size_t head_dim,
               const AttentionRule& rule) {
  float row[kMaxHeadDim];
  decode_row(type, key, row, head_dim);
  const float logit = dot(q, row, head_dim) * rule.scale;
  return rule.softcap > 0 ? rule.softcap * std::tanh(logit / rule.softcap) : logit;
}

// Softmax-weighted sum over rows that come one by one; in f64, as the sum of probabilities().
class OnlineSoftmax {
 public:
  explicit OnlineSoftmax(std::size_t head_dim) : head_dim_(head_dim) {}
  void add(float logit, const std::byte* value, KvType type) {
    if (logit > max_) {
      const double shrink = std::exp(max_ - logit);
      for (std::size_t d = 0; d < head_dim_; ++d) acc_[d] *= shrink;
      sum_ *= shrink;
      max_ = logit;
    }
    const float weight = std::exp(logit - max_);
    float row[kMaxHeadDim];
    decode_row(type, value, row, head_dim_);
    for (std::size_t d = 0; d < head_dim_; ++d) acc_[d] += static_cast<double>(weight) * row[d];
    sum_ += weight;
  }
  [[nodiscard]] float max() const { return max_; }
  [[nodiscard]] float sum() const { return static_cast<float>(sum_); }
  // The weighted values, over `divisor`.
  void write(double divisor, float* out) const {
    for (std::size_t d = 0; d < head_dim_; ++d) out[d] = static_cast<float>(acc_[d] / divisor);
  }
  void write_mean(float* out) const { write(sum_, out); }

 private:
  std::size_t head_dim_;
  std::array<double, kMaxHeadDim> acc_{};
  float max_ = -std::numeric_limits<float>::infinity();
  double sum_ = 0;
};

// Probabilities of one query over rows [begin, end), into out[begin .. end).
void probabilities(const float* q, TypedRows keys, std::size_t begin, std::size_t end,
                   std::size_t head_dim, const AttentionRule& rule, float* out) {
  const std::size_t row_bytes = kv_row_bytes(keys.type, head_dim);
  float max = -std::numeric_limits<float>::infinity();
  for (std::size_t j = begin; j < end; ++j) {
    out[j] = logit_of(q, keys.data + j * row_bytes, keys.type, head_dim, rule);
    max = std::max(max, out[j]);
  }
  // In f64: after a row that takes nearly all attention, thousands of small terms would each be
  // lost to rounding, and a policy that divides by what is left would see the loss.
  double sum = 0;
  for (std::size_t j = begin; j < end; ++j) {
    out[j] = std::exp(out[j] - max);
    sum += out[j];
  }
  for (std::size_t j = begin; j < end; ++j) out[j] = static_cast<float>(out[j] / sum);
}

}  // namespace

void prefill_attention(const PrefillAttentionArgs& args) {
  const RowSpan all{.begin = 0, .end = args.row_end[args.n_query - 1]};
  sparse_attention({.block = args, .listed = {&all, 1}});
}

void sparse_attention(const SparseAttentionArgs& sparse) {
  const PrefillAttentionArgs& args = sparse.block;
  const std::size_t row_bytes = kv_row_bytes(args.keys.type, args.head_dim);
  for (std::size_t i = 0; i < args.n_query; ++i) {
    for (std::size_t g = 0; g < args.group; ++g) {
      const std::size_t at = i * args.token_stride + g * args.head_dim;
      OnlineSoftmax softmax(args.head_dim);
      for (const RowSpan& span : sparse.listed) {
        const std::size_t end = std::min(span.end, args.row_end[i]);
        for (std::size_t j = std::max(span.begin, args.row_begin[i]); j < end; ++j) {
          const float logit = logit_of(args.q + at, args.keys.data + j * row_bytes, args.keys.type,
                                       args.head_dim, args.rule);
          softmax.add(logit, args.values.data + j * row_bytes, args.values.type);
        }
      }
      softmax.write_mean(args.out + at);
      if (args.softmax == nullptr) continue;
      const std::size_t row = i * args.group + g;
      args.softmax[row] = softmax.max();
      args.softmax[args.n_query * args.group + row] = softmax.sum();
    }
  }
}

void decode_attention(const DecodeAttentionArgs& args) {
  const std::size_t key_bytes = kv_row_bytes(args.type_k, args.head_dim);
  const std::size_t value_bytes = kv_row_bytes(args.type_v, args.head_dim);
  const std::size_t mask_bytes = row_mask_bytes(args.group);
  for (std::size_t g = 0; g < args.group; ++g) {
    OnlineSoftmax softmax(args.head_dim);
    std::size_t skip = args.skip_rows;
    std::size_t row = 0;
    for (const PageView& page : args.pages) {
      for (std::size_t r = skip; r < page.rows; ++r, ++row) {
        const float logit = logit_of(args.q + g * args.head_dim, page.keys + r * key_bytes,
                                     args.type_k, args.head_dim, args.rule);
        if (args.logits != nullptr) args.logits[g * args.logit_stride + row] = logit;
        if (page.masks != nullptr && !sees_row(page.masks + r * mask_bytes, g)) continue;
        softmax.add(logit, page.values + r * value_bytes, args.type_v);
      }
      skip = 0;
    }
    args.partial[g] = softmax.max();
    args.partial[args.group + g] = softmax.sum();
    softmax.write(1.0, args.partial + 2 * args.group + g * args.head_dim);
  }
}

void window_attention(const WindowAttentionArgs& args) {
  for (std::size_t i = 0; i < args.n_query; ++i) {
    float* out = args.out + i * args.rows;
    std::fill_n(out, args.rows, 0.0F);
    probabilities(args.q + i * args.head_dim, args.keys, args.row_begin[i], args.row_end[i],
                  args.head_dim, args.rule, out);
  }
}

void column_sums(const ColumnSumArgs& args) {
  const PrefillAttentionArgs& block = args.block;
  const std::size_t row_bytes = kv_row_bytes(block.keys.type, block.head_dim);
  const float share = 1.0F / static_cast<float>(block.group);
  for (std::size_t i = 0; i < block.n_query; ++i) {
    for (std::size_t g = 0; g < block.group; ++g) {
      const float* q = block.q + i * block.token_stride + g * block.head_dim;
      // Two passes over the rows, so that no buffer of the cache's length is needed.
      float max = -std::numeric_limits<float>::infinity();
      double sum = 0;
      if (block.softmax != nullptr) {
        max = block.softmax[i * block.group + g];
        sum = block.softmax[(block.n_query + i) * block.group + g];
      }
      for (std::size_t j = block.row_begin[i]; j < block.row_end[i] && block.softmax == nullptr;
           ++j) {
        const float logit = logit_of(q, block.keys.data + j * row_bytes, block.keys.type,
                                     block.head_dim, block.rule);
        if (logit > max) {
          sum *= std::exp(max - logit);
          max = logit;
        }
        sum += std::exp(logit - max);
      }
      for (std::size_t j = block.row_begin[i]; j < block.row_end[i]; ++j) {
        const float logit = logit_of(q, block.keys.data + j * row_bytes, block.keys.type,
                                     block.head_dim, block.rule);
        args.sums[j] += static_cast<float>(std::exp(logit - max) / sum) * share;
      }
    }
  }
}

}  // namespace restkv::ref
