#include "policies/golden_layers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "base/aligned.h"
#include "base/check.h"
#include "engine/compress.h"
#include "kernels/linear_algebra.h"

namespace restkv {
namespace {

// Elements of a head's keys up to which every table is tried, plain loops included.
constexpr std::size_t kSmallHead = 50000;

}  // namespace

GoldenLayer::GoldenLayer(const GoldenCase& golden, const SafetensorsFile& file, GoldenHeads heads)
    : n_(golden.dims.at("n")),
      n_head_(golden.dims.at("Hq")),
      head_dim_(golden.dims.at("d")),
      shown_(heads) {
  const std::size_t n_kv = golden.dims.at("Hkv");
  if (file.has("q_full")) {
    all_queries_ = file.tensor("q_full").floats();
    for (std::size_t head = 0; head < n_head_; ++head) {
      const auto end =
          all_queries_.begin() + static_cast<std::ptrdiff_t>((head + 1) * n_ * head_dim_);
      queries_.insert(queries_.end(), end - static_cast<std::ptrdiff_t>(kGoldenWindow * head_dim_),
                      end);
    }
  } else {
    queries_ = file.tensor("q").floats();
  }
  positions_.resize(n_);
  std::iota(positions_.begin(), positions_.end(), 0);
  const std::size_t head_bytes = kv_row_bytes(KvType::kF16, head_dim_) * n_;
  for (std::size_t h = 0; h < n_kv; ++h) {
    heads_.push_back({.keys = file.tensor("k").bytes.data() + h * head_bytes,
                      .values = file.tensor("v").bytes.data() + h * head_bytes,
                      .type = KvType::kF16,
                      .positions = positions_});
  }
  if (file.has("wo")) make_factors(file.tensor("wo"));
  observation_ = {.layer = 0,
                  .n_layer = 1,
                  .n_head = static_cast<int>(n_head_),
                  .n_kv_head = static_cast<int>(n_kv),
                  .head_dim = static_cast<int>(head_dim_),
                  .attention = {.scale = 1.0F / std::sqrt(static_cast<float>(head_dim_)),
                                .softcap = 0,
                                .sliding_window = 0},
                  .heads = heads_,
                  .window_queries = {queries_.data(), n_head_, kGoldenWindow, head_dim_},
                  .window_positions = std::span<const Position>(positions_).last(kGoldenWindow),
                  .output_factors = {factors_.data(), n_head_, head_dim_, head_dim_},
                  .column_sums = {}};
  if (!columns_.empty()) {
    observation_.output_columns = {columns_.data(), n_head_, head_dim_,
                                   columns_.size() / (n_head_ * head_dim_)};
  }
  show();
}

void GoldenLayer::show() {
  if (shown_ == GoldenHeads::kQuery) by_query_head_.emplace(observation_, sum_views_);
}

void GoldenLayer::make_factors(const GoldenTensor& wo) {
  const std::vector<float> projection = wo.floats();
  const std::size_t hidden = wo.shape[0];
  factors_.resize(n_head_ * head_dim_ * head_dim_);
  columns_.resize(n_head_ * head_dim_ * hidden);
  std::vector<float> overwritten(head_dim_ * hidden);
  for (std::size_t head = 0; head < n_head_; ++head) {
    float* columns = columns_.data() + head * head_dim_ * hidden;
    for (std::size_t d = 0; d < head_dim_; ++d) {
      for (std::size_t row = 0; row < hidden; ++row) {
        columns[d * hidden + row] = projection[(row * n_head_ + head) * head_dim_ + d];
      }
    }
    std::copy_n(columns, overwritten.size(), overwritten.begin());
    triangular_factor(best_table(), overwritten.data(), hidden, head_dim_,
                      factors_.data() + head * head_dim_ * head_dim_);
  }
}

void GoldenLayer::sum_columns(const KernelTable& kernels) {
  RESTKV_CHECK(!all_queries_.empty());
  const std::size_t shown = shown_ == GoldenHeads::kQuery ? n_head_ : heads_.size();
  const std::size_t group = n_head_ / shown;
  sums_.assign(shown, std::vector<float>(n_, 0.0F));
  sum_views_.clear();
  std::vector<std::uint32_t> begin(n_, 0);
  std::vector<std::uint32_t> end(n_);
  std::iota(end.begin(), end.end(), 1U);
  AlignedArray<float> scratch(prefill_attention_scratch(group, head_dim_));
  std::vector<float> block(kMaxQueryBlock * group * head_dim_);  // [token][query head]
  for (std::size_t h = 0; h < shown; ++h) {
    const HeadRows& rows = heads_[h * heads_.size() / shown];
    for (std::size_t first = 0; first < n_; first += kMaxQueryBlock) {
      const std::size_t count = std::min(kMaxQueryBlock, n_ - first);
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t g = 0; g < group; ++g) {
          const std::size_t query = (h * group + g) * n_ + first + i;
          std::copy_n(all_queries_.data() + query * head_dim_, head_dim_,
                      block.data() + (i * group + g) * head_dim_);
        }
      }
      kernels.column_sums({.block = {.q = block.data(),
                                     .token_stride = group * head_dim_,
                                     .n_query = count,
                                     .group = group,
                                     .head_dim = head_dim_,
                                     .keys = {rows.keys, rows.type},
                                     .values = {rows.values, rows.type},
                                     .row_begin = begin.data() + first,
                                     .row_end = end.data() + first,
                                     .rule = observation_.attention,
                                     .scratch = scratch.data()},
                           .sums = sums_[h].data()});
    }
    sum_views_.emplace_back(sums_[h]);
  }
  if (shown_ == GoldenHeads::kKv) observation_.column_sums = sum_views_;
  show();
}

void GoldenLayer::count_queries(const SafetensorsFile& file, double rope_theta) {
  RESTKV_CHECK(!all_queries_.empty());
  const std::vector<float> queries =
      file.has("q_pre") ? file.tensor("q_pre").floats() : all_queries_;
  constexpr std::size_t kFirst = 4;
  const auto count = static_cast<double>(n_ - kFirst);
  means_.assign(n_head_ * head_dim_, 0.0);
  covariances_.assign(n_head_ * head_dim_ * head_dim_, 0.0);
  for (std::size_t head = 0; head < n_head_; ++head) {
    double* mean = means_.data() + head * head_dim_;
    const auto query = [&](std::size_t t, std::size_t d) -> double {
      return queries[(head * n_ + t) * head_dim_ + d];
    };
    for (std::size_t t = kFirst; t < n_; ++t) {
      for (std::size_t d = 0; d < head_dim_; ++d) mean[d] += query(t, d) / count;
    }
    for (std::size_t t = kFirst; t < n_; ++t) {
      for (std::size_t r = 0; r < head_dim_; ++r) {
        double* row = covariances_.data() + (head * head_dim_ + r) * head_dim_;
        const double off = (query(t, r) - mean[r]) / count;
        for (std::size_t c = 0; c < head_dim_; ++c) row[c] += off * (query(t, c) - mean[c]);
      }
    }
  }
  frequencies_.clear();
  for (std::size_t i = 0; i < head_dim_ / 2; ++i) {
    frequencies_.push_back(
        std::pow(rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_)));
  }
  observation_.query_statistics = {
      .count = n_ - kFirst,
      .means = {means_.data(), n_head_, head_dim_},
      .covariances = {covariances_.data(), n_head_, head_dim_, head_dim_}};
  observation_.rotation = {.frequencies = frequencies_, .magnitude = 1.0, .adjacent = false};
  show();
}

void expect_golden_row(const GoldenRun& run, const std::string& array, std::size_t row,
                       std::span<const float> values) {
  const auto output = run.method->outputs.find(array);
  if (output == run.method->outputs.end()) return;
  run.compared->insert(array);
  const GoldenTensor& tensor = run.file->tensor(array);
  std::vector<float> wanted;
  if (tensor.type == "I32") {
    for (const std::int32_t value : tensor.integers()) wanted.push_back(static_cast<float>(value));
  } else {
    wanted = tensor.floats();
  }
  const std::size_t cols = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
  ASSERT_GE(values.size(), cols) << array;
  std::size_t wrong = 0;
  for (std::size_t j = 0; j < cols; ++j) {
    const double reference = wanted[row * cols + j];
    if (!(std::abs(reference) <= 1e30)) continue;  // a marker
    const double allowed = output->second.exact
                               ? 0.0
                               : output->second.atol + output->second.rtol * std::abs(reference);
    if (std::abs(values[j] - reference) <= allowed) continue;
    if (++wrong == 1) {
      ADD_FAILURE() << array << " [" << row << ", " << j << "] is " << values[j] << ", not "
                    << reference << " (allowed: " << allowed << ")";
    }
  }
  EXPECT_EQ(wrong, 0U) << array << " row " << row;
}

void expect_all_compared(const GoldenMethod& method, const std::set<std::string>& compared) {
  for (const auto& [array, output] : method.outputs) {
    EXPECT_TRUE(compared.contains(array)) << array << " was not compared";
  }
}

void expect_golden_set(const GoldenMethod& method, const std::string& array, std::size_t row,
                       std::span<const std::int32_t> wanted, std::span<const std::int32_t> kept) {
  ASSERT_EQ(kept.size(), wanted.size()) << array << " row " << row;
  EXPECT_TRUE(std::ranges::adjacent_find(kept, std::ranges::greater_equal()) == kept.end());
  std::vector<std::int32_t> open;
  std::size_t need = 0;
  const auto ties = method.near_ties.find(array);
  if (ties != method.near_ties.end()) {
    for (const NearTie& tie : ties->second) {
      if (tie.row != row) continue;
      open = tie.candidates;
      need = tie.need;
    }
  }
  std::ranges::sort(open);
  const auto is_open = [&open](std::int32_t at) { return std::ranges::binary_search(open, at); };
  const auto decided = [&](std::span<const std::int32_t> all) {
    std::vector<std::int32_t> result(all.begin(), all.end());
    std::erase_if(result, is_open);
    return result;
  };
  EXPECT_EQ(decided(kept), decided(wanted)) << array << " row " << row;
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count_if(kept, is_open)), need)
      << array << " row " << row;
}

void expect_golden_keep_sets(const GoldenRun& run, const GoldenCheck& check) {
  const auto named = parse_named_params(run.policy);
  ASSERT_TRUE(named.ok());
  ASSERT_FALSE(run.method->budgets.empty());
  const LayerObservation& layer = run.layer->observation();
  for (const std::size_t budget : run.method->budgets) {
    KvOptions options;
    options.policy = named->name;
    options.policy_options = named->assignments;
    options.budget.amount = static_cast<double>(budget);
    options.window = static_cast<int>(kGoldenWindow);
    options.protect = Protect::kPaper;
    const auto variant = Variant::make(options);
    ASSERT_TRUE(variant.ok()) << variant.error().message;
    RecordedTrace trace;
    const HeadScores scores = scores_of({.policy = run.policy,
                                         .budget = budget,
                                         .window = kGoldenWindow,
                                         .threads = 2,
                                         .kernels = run.kernels,
                                         .trace = &trace},
                                        layer);
    check(budget, scores, trace);
    const std::string array = run.keep + ".keep.C" + std::to_string(budget);
    ASSERT_TRUE(run.method->outputs.contains(array)) << array;
    run.compared->insert(array);
    const std::vector<std::int32_t> wanted = run.file->tensor(array).integers();
    const std::size_t golden_rows = run.file->tensor(array).shape[0];
    const std::size_t cols = run.file->tensor(array).shape[1];
    ASSERT_TRUE(golden_rows == 1 || golden_rows == scores.size()) << array;  // 1: all heads alike
    const KeepSets keep =
        choose_rows(**variant, layer, scores, budget, layer.window_positions.back() + 1);
    for (std::size_t h = 0; h < keep.size(); ++h) {
      const std::size_t row = golden_rows == 1 ? 0 : h;
      const std::vector<std::int32_t> kept(keep[h].begin(), keep[h].end());
      expect_golden_set(*run.method, array, row, std::span(wanted).subspan(row * cols, cols), kept);
    }
  }
}

std::vector<const KernelTable*> golden_tables(const GoldenCase& golden) {
  if (golden.dims.at("n") * golden.dims.at("d") > kSmallHead) return {&best_table()};
  return {all_tables().begin(), all_tables().end()};
}

std::vector<std::string> golden_cases_with(std::span<const std::string> methods) {
  std::vector<std::string> names;
  for (const GoldenCase& golden : *golden_cases()) {
    const bool any = std::ranges::any_of(
        methods, [&](const std::string& name) { return golden.method(name) != nullptr; });
    if (any) names.push_back(golden.name);
  }
  return names;
}

}  // namespace restkv
