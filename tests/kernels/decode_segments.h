#pragma once

// Segments of a cache for the tests of decode's attention, and what they are compared with.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/measure.h"

namespace restkv::kernel_test {

// Relative L2, as for prefill; merging partials costs nothing that can be seen.
inline constexpr double kBudget = 1.5e-6;

inline constexpr double kCappedBudget = 2e-6;

// Heads of queries over `rows` rows. Pages copy their rows, so that every page has an address and
// an end of its own.
struct Segment {
  std::size_t group;
  std::size_t head_dim;
  std::vector<float> q;
  Rows keys;
  Rows values;
  AttentionRule rule;
  std::vector<std::uint8_t> masks = {};  // [rows][row_mask_bytes(group)] or empty

  [[nodiscard]] std::size_t rows() const { return keys.expanded.size() / head_dim; }
  [[nodiscard]] std::size_t partial_size() const { return group * (2 + head_dim); }
};

struct Setting {
  std::size_t group;
  std::size_t head_dim;
  std::size_t rows;
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  float softcap = 0.0F;
  float deviation = 1.0F;
};

inline bool goes_with(KvType type, std::size_t head_dim) {
  return !kv_type_is_quantised(type) || head_dim % kQuantBlock == 0;
}

// body(type_k, type_v) for every pair that goes with the width.
template <class Body>
void for_each_pair(std::size_t head_dim, Body&& body) {
  for (const KvType type_k : kAllKvTypes) {
    for (const KvType type_v : kAllKvTypes) {
      if (goes_with(type_k, head_dim) && goes_with(type_v, head_dim)) body(type_k, type_v);
    }
  }
}

inline std::string name_of(const Setting& setting) {
  return "group " + std::to_string(setting.group) + ", head_dim " +
         std::to_string(setting.head_dim) + ", rows " + std::to_string(setting.rows) + ", " +
         std::string(kv_type_name(setting.type_k)) + " and " +
         std::string(kv_type_name(setting.type_v));
}

inline Segment make_segment(const Setting& setting) {
  Random random(setting.rows * 1000 + setting.head_dim);
  const std::size_t n = setting.rows * setting.head_dim;
  return {.group = setting.group,
          .head_dim = setting.head_dim,
          .q = random.normals(setting.group * setting.head_dim, setting.deviation),
          .keys = make_rows(setting.type_k, setting.head_dim, random.normals(n)),
          .values = make_rows(setting.type_v, setting.head_dim, random.normals(n)),
          .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(setting.head_dim)),
                   .softcap = setting.softcap,
                   .sliding_window = 0}};
}

inline std::vector<double> exact_outputs(const Segment& segment, std::size_t skip) {
  std::vector<double> out(segment.group * segment.head_dim);
  for (std::size_t g = 0; g < segment.group; ++g) {
    exact_mean(exact_probabilities(segment.q.data() + g * segment.head_dim, segment.keys, skip,
                                   segment.rows(), segment.rule),
               segment.values, skip, out.data() + g * segment.head_dim);
  }
  return out;
}

// Rows [first, last) of a segment, cut into pages.
class Pages {
 public:
  Pages(const Segment& segment, std::size_t first, std::size_t last,
        const std::vector<std::size_t>& sizes) {
    const std::size_t key_bytes = kv_row_bytes(segment.keys.type, segment.head_dim);
    const std::size_t value_bytes = kv_row_bytes(segment.values.type, segment.head_dim);
    const auto copy = [](const Rows& rows, std::size_t row, std::size_t n, std::size_t bytes) {
      const auto from = rows.bytes.begin() + static_cast<std::ptrdiff_t>(row * bytes);
      return std::vector<std::byte>(from, from + static_cast<std::ptrdiff_t>(n * bytes));
    };
    std::size_t page = 0;
    while (first < last || page < sizes.size()) {
      const std::size_t rows = std::min(sizes[page++ % sizes.size()], last - first);
      bytes_.push_back(copy(segment.keys, first, rows, key_bytes));
      bytes_.push_back(copy(segment.values, first, rows, value_bytes));
      views_.push_back(
          {.keys = bytes_[bytes_.size() - 2].data(),
           .values = bytes_.back().data(),
           .rows = static_cast<std::uint32_t>(rows),
           .masks = segment.masks.empty()
                        ? nullptr
                        : segment.masks.data() + first * row_mask_bytes(segment.group)});
      first += rows;
    }
  }
  [[nodiscard]] std::span<const PageView> views() const { return views_; }

 private:
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<PageView> views_;
};

// partial: of segment.partial_size().
inline DecodeAttentionArgs decode_args(const Segment& segment, const Pages& pages, std::size_t skip,
                                       float* partial) {
  return {.q = segment.q.data(),
          .group = segment.group,
          .head_dim = segment.head_dim,
          .pages = pages.views(),
          .skip_rows = skip,
          .type_k = segment.keys.type,
          .type_v = segment.values.type,
          .rule = segment.rule,
          .partial = partial};
}

inline std::vector<float> partial_of(const KernelTable& table, const Segment& segment,
                                     const Pages& pages, std::size_t skip) {
  Guarded<float> partial(segment.partial_size(), 1);
  table.decode_attention(decode_args(segment, pages, skip, partial.data()));
  EXPECT_TRUE(partial.intact());
  std::vector<float> padded = partial.values();
  padded.resize(decode_partial_size(segment.group, segment.head_dim));
  return padded;
}

inline std::vector<float> merged(const Segment& segment, const std::vector<float>& partials) {
  Guarded<float> out(segment.group * segment.head_dim, 1);
  const std::size_t size = decode_partial_size(segment.group, segment.head_dim);
  const std::size_t parts = size > 0 ? partials.size() / size : 0;  // 0: for the static analyzer
  merge_decode(partials.data(), parts, segment.group, segment.head_dim, out.data());
  EXPECT_TRUE(out.intact());
  return out.values();
}

}  // namespace restkv::kernel_test
