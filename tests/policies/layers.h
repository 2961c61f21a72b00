#pragma once

// Layers made up for tests: they own what a LayerObservation shows.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"

namespace restkv {

struct LayerShape {
  int n_head = 4;
  int n_kv_head = 2;
  int head_dim = 16;
  std::size_t hidden = 24;  // rows of the output projection
  std::size_t rows = 64;    // positions 0 .. rows - 1
  std::size_t queries = 8;  // the newest
  KvType type = KvType::kF32;
  AttentionRule attention{.scale = 0.25F, .softcap = 0, .sliding_window = 0};
};

class TestLayer {
 public:
  // Everything 0, all rows there.
  explicit TestLayer(const LayerShape& shape);
  // Normally distributed numbers.
  static TestLayer random(const LayerShape& shape, std::uint32_t seed);
  // Whole numbers from -limit to limit. The output projection holds the identity for each head, so
  // that its triangular factor is whole as well. REQUIRES: hidden == head_dim.
  static TestLayer integers(const LayerShape& shape, int limit, std::uint32_t seed);

  [[nodiscard]] const LayerShape& shape() const { return shape_; }
  [[nodiscard]] std::size_t group() const {
    return static_cast<std::size_t>(shape_.n_head / shape_.n_kv_head);
  }
  // Rows of KV head h, [head_dim] each. What is written is rounded to the element type by seal().
  [[nodiscard]] std::span<float> key(std::size_t h, std::size_t row);
  [[nodiscard]] std::span<float> value(std::size_t h, std::size_t row);
  [[nodiscard]] std::span<const float> key(std::size_t h, std::size_t row) const;
  [[nodiscard]] std::span<const float> value(std::size_t h, std::size_t row) const;
  [[nodiscard]] std::span<float> query(std::size_t head, std::size_t i);
  [[nodiscard]] std::span<const float> query(std::size_t head, std::size_t i) const;
  // Element [row, head * head_dim + column] of W_o.
  [[nodiscard]] float& projection(std::size_t row, std::size_t column);
  [[nodiscard]] float projection(std::size_t row, std::size_t column) const;
  [[nodiscard]] const std::vector<Position>& positions(std::size_t h) const;
  [[nodiscard]] std::vector<float>& column_sums(std::size_t h) { return heads_[h].sums; }
  // Leaves only these positions in head h, as a compressed earlier turn would.
  void keep_positions(std::size_t h, std::span<const Position> positions);

  // Makes the views; column sums serve as the worth to a replay as well. Call it after the last
  // change. The shown queries serve as the queries before
  // RoPE as well.
  void seal();
  // REQUIRES: seal(). Valid while the layer is.
  [[nodiscard]] const LayerObservation& observation() const { return observation_; }

 private:
  void count_queries();
  struct Head {
    std::vector<float> keys, values;  // [rows, head_dim]
    std::vector<Position> positions;
    std::vector<float> sums;
    std::vector<std::byte> key_bytes, value_bytes;
  };
  LayerShape shape_;
  std::size_t dim_;
  std::vector<Head> heads_;
  std::vector<float> queries_;
  std::vector<float> projection_;
  std::vector<float> factors_;
  std::vector<float> columns_;  // [n_head, head_dim, hidden]
  std::vector<double> means_, covariances_, frequencies_;
  std::vector<Position> window_positions_;
  std::vector<HeadRows> views_;
  std::vector<std::span<const float>> sum_views_;
  LayerObservation observation_;
};

// Keeps every array that a scorer shows.
class RecordedTrace final : public ScoreTrace {
 public:
  void array(std::string_view name, int index, std::span<const float> values) override;
  // REQUIRES: the array was shown.
  [[nodiscard]] const std::vector<float>& of(std::string_view name, int index) const;
  [[nodiscard]] bool has(std::string_view name, int index) const;

 private:
  std::map<std::pair<std::string, int>, std::vector<float>, std::less<>> arrays_;
};

using HeadScores = std::vector<std::vector<float>>;

struct ScoreCall {
  std::string policy;  // "rest-kv:alpha=0.2"
  std::size_t budget = 16;
  std::size_t window = 8;
  std::uint64_t seed = 0;
  GroupScore group_score = GroupScore::kMean;
  int threads = 1;
  const KernelTable* kernels = nullptr;  // null: the best
  ScoreTrace* trace = nullptr;
};
// Scores of every KV head. Output is filled with NaN first, so what is left out shows.
HeadScores scores_of(const ScoreCall& call, const LayerObservation& layer);

// ---- the formulas once more, slowly and in f64 ------------------------------------------------

using Matrix = std::vector<std::vector<double>>;  // [row][column]

// Attention of each shown query of a query head over the rows of its KV head.
Matrix plain_attention(const TestLayer& layer, std::size_t head);
// Rows of KV head h at positions before the newest `window`.
std::size_t plain_past(const TestLayer& layer, std::size_t h, std::size_t window);
// Indices of the k largest, the lower index first among equals.
std::vector<std::size_t> plain_top(std::span<const double> values, std::size_t k);

}  // namespace restkv
