#pragma once

// Attention by its definition, in double, on rows that are already f32: what every table is
// compared with. Inputs are drawn here as well.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/measure.h"

namespace restkv::kernel_test {

// Rows in a cache type, and what they hold.
struct Rows {
  KvType type = KvType::kF32;
  std::size_t head_dim = 0;
  std::vector<std::byte> bytes;
  std::vector<float> expanded;  // [rows, head_dim]

  [[nodiscard]] TypedRows view() const { return {bytes.data(), type}; }
};

// Encodes with the plain loops of "ref", which ElementTypes holds to ggml.
inline Rows make_rows(KvType type, std::size_t head_dim, const std::vector<float>& values) {
  const KernelTable& ref = *all_tables().front();
  Rows rows{.type = type, .head_dim = head_dim, .bytes = {}, .expanded = {}};
  rows.bytes.resize(kv_row_bytes(type, values.size()));
  rows.expanded.resize(values.size());
  ref.encode_row(type, values.data(), rows.bytes.data(), values.size());
  ref.decode_row(type, rows.bytes.data(), rows.expanded.data(), values.size());
  return rows;
}

// n whole numbers that every cache type holds as they are: the first of each block sets the scale
// of its quants to 1.
inline std::vector<float> whole_numbers(KvType type, std::size_t n) {
  std::vector<float> values = Random(n).integers(n, 7);
  const float largest = type == KvType::kQ4_0 ? -8.0F : 127.0F;
  for (std::size_t i = 0; i < n; i += kQuantBlock) values[i] = largest;
  return values;
}

// Of rows of whole numbers: exact, where their number is a power of two.
inline std::vector<float> mean_of_rows(const std::vector<float>& values, std::size_t head_dim) {
  std::vector<double> sums(head_dim);
  for (std::size_t i = 0; i < values.size(); ++i) sums[i % head_dim] += values[i];
  const auto rows = static_cast<double>(values.size() / head_dim);
  std::vector<float> mean;
  for (const double sum : sums) mean.push_back(static_cast<float>(sum / rows));
  return mean;
}

// Softmax over the logits of one query for keys [begin, end). out: [end - begin].
inline std::vector<double> exact_probabilities(const float* q, const Rows& keys, std::size_t begin,
                                               std::size_t end, const AttentionRule& rule) {
  std::vector<double> weights(end - begin);
  double max = -std::numeric_limits<double>::infinity();
  for (std::size_t j = begin; j < end; ++j) {
    const float* const key = keys.expanded.data() + j * keys.head_dim;
    double logit = 0;
    for (std::size_t d = 0; d < keys.head_dim; ++d) logit += static_cast<double>(q[d]) * key[d];
    logit *= rule.scale;
    if (rule.softcap > 0) logit = rule.softcap * std::tanh(logit / rule.softcap);
    weights[j - begin] = logit;
    max = std::max(max, logit);
  }
  double sum = 0;
  for (double& weight : weights) {
    weight = std::exp(weight - max);
    sum += weight;
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// out[d] = sum of weights[j] * values[begin + j][d].
inline void exact_mean(const std::vector<double>& weights, const Rows& values, std::size_t begin,
                       double* out) {
  std::fill_n(out, values.head_dim, 0.0);
  for (std::size_t j = 0; j < weights.size(); ++j) {
    const float* const value = values.expanded.data() + (begin + j) * values.head_dim;
    for (std::size_t d = 0; d < values.head_dim; ++d) out[d] += weights[j] * value[d];
  }
}

// Which rows the tokens of a block see.
struct RowRanges {
  std::vector<std::uint32_t> begin;
  std::vector<std::uint32_t> end;

  [[nodiscard]] std::size_t rows() const { return end.back(); }
};

enum class Sight : std::uint8_t {
  kCausal,   // from row 0, one more for each token
  kSliding,  // the same, but only the last `window` of them
  kLate,     // from a row beyond 0 on
  kEqual,    // every token the same rows
  kUneven,   // both ends move by steps of 0 to 5
};
inline constexpr Sight kAllSights[] = {Sight::kCausal, Sight::kSliding, Sight::kLate, Sight::kEqual,
                                       Sight::kUneven};

// past: rows before those of the block.
inline RowRanges make_ranges(Sight sight, std::size_t n_query, std::size_t past) {
  constexpr std::uint32_t kWindow = 37;
  RowRanges ranges;
  Random random(n_query * 1000 + past);
  std::uint32_t begin = 0;
  auto end = static_cast<std::uint32_t>(past + 1);
  for (std::size_t i = 0; i < n_query; ++i) {
    const auto seen = static_cast<std::uint32_t>(past + i + 1);
    switch (sight) {
      case Sight::kCausal: end = seen; break;
      case Sight::kSliding:
        end = seen;
        begin = end > kWindow ? end - kWindow : 0;
        break;
      case Sight::kLate:
        end = seen;
        begin = static_cast<std::uint32_t>(past * 2 / 3);
        break;
      case Sight::kEqual: end = static_cast<std::uint32_t>(past + n_query); break;
      case Sight::kUneven:
        end += static_cast<std::uint32_t>(random.below(6));
        begin = std::min(end - 1, begin + static_cast<std::uint32_t>(random.below(6)));
        break;
    }
    ranges.begin.push_back(begin);
    ranges.end.push_back(end);
  }
  return ranges;
}

}  // namespace restkv::kernel_test
