#pragma once

// Golden cases as layers, and the comparison of scores and keep sets with golden arrays.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/query_heads.h"
#include "kernels/kernels.h"
#include "policies/layers.h"
#include "restkv/policy.h"
#include "support/golden.h"

namespace restkv {

inline constexpr std::size_t kGoldenWindow = 32;

// Most publications select per query head. As kQuery the layer is shown as the engine shows it with
// Granularity::kQueryHead.
enum class GoldenHeads { kQuery, kKv };

class GoldenLayer {
 public:
  GoldenLayer(const GoldenCase& golden, const SafetensorsFile& file, GoldenHeads heads);
  GoldenLayer(const GoldenLayer&) = delete;
  GoldenLayer& operator=(const GoldenLayer&) = delete;

  [[nodiscard]] const LayerObservation& observation() const {
    return by_query_head_ ? by_query_head_->layer() : observation_;
  }
  [[nodiscard]] std::size_t past() const { return n_ - kGoldenWindow; }
  // Sums the attention of all queries, with one table. REQUIRES: the case has q_full.
  void sum_columns(const KernelTable& kernels);
  // Takes the statistics of the queries before RoPE (all queries where the case has no others), and
  // the rotation of that base, by halves. REQUIRES: the case has q_full.
  void count_queries(const SafetensorsFile& file, double rope_theta);

 private:
  void make_factors(const GoldenTensor& wo);
  void show();

  std::size_t n_, n_head_, head_dim_;
  std::vector<float> all_queries_;  // [n_head, n, head_dim] or empty
  std::vector<float> queries_;      // [n_head, window, head_dim]
  std::vector<float> factors_;
  std::vector<float> columns_;  // [n_head, head_dim, hidden]
  std::vector<double> means_, covariances_, frequencies_;
  std::vector<Position> positions_;
  std::vector<HeadRows> heads_;
  std::vector<std::vector<float>> sums_;
  std::vector<std::span<const float>> sum_views_;
  GoldenHeads shown_;
  LayerObservation observation_;                     // of KV heads
  std::optional<QueryHeadView> by_query_head_ = {};  // as kQuery
};

// One golden method as one policy does it, with what the publication protects.
struct GoldenRun {
  const GoldenCase* golden = nullptr;
  const SafetensorsFile* file = nullptr;
  const GoldenMethod* method = nullptr;
  const GoldenLayer* layer = nullptr;
  std::string policy = {};  // "rest-kv:kernel=5"
  std::string keep = {};    // keep sets are called <keep>.keep.C<budget>
  const KernelTable* kernels = nullptr;
  std::set<std::string>* compared = nullptr;  // names of arrays that were compared are added
};
// Called after each budget with the scores and what the scorer has shown.
using GoldenCheck =
    std::function<void(std::size_t budget, const HeadScores& scores, const RecordedTrace& trace)>;
// Scores and selects for every budget of the method, and compares the keep sets.
void expect_golden_keep_sets(const GoldenRun& run, const GoldenCheck& check);

// That no array of the method was passed over.
void expect_all_compared(const GoldenMethod& method, const std::set<std::string>& compared);

// Row `row` of the golden array against `values`, which may be longer (rows of the window). Does
// nothing when the case has no such array.
void expect_golden_row(const GoldenRun& run, const std::string& array, std::size_t row,
                       std::span<const float> values);
// As sets, but for near ties of that row.
void expect_golden_set(const GoldenMethod& method, const std::string& array, std::size_t row,
                       std::span<const std::int32_t> wanted, std::span<const std::int32_t> kept);

// Tables to run a case under: all of them for small cases, the best for large ones.
std::vector<const KernelTable*> golden_tables(const GoldenCase& golden);
// Names of the cases that have one of the methods, in the order of the manifest. All of them are
// listed in the tests, so that each is a test of its own; a test compares the lists.
std::vector<std::string> golden_cases_with(std::span<const std::string> methods);

}  // namespace restkv
