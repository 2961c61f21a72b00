#pragma once

// What the author of a budget allocator sees: how many rows does each KV head of a layer keep? With
// Granularity::kQueryHead every query head stands here as a KV head.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "restkv/params.h"

namespace restkv {

// Heads: the KV heads of the layer in hand or, for an allocator across layers, those of layers
// 0 .. layer, one layer after the other, each with the rows that it still holds.
struct AllocationRequest {
  int layer = 0;
  int n_layer = 0;
  std::size_t budget = 0;  // nominal rows per KV head and layer, protected ones included
  std::size_t pool = 0;    // across layers: rows that all heads of all layers may keep together
  std::size_t window = 0;  // observation window, in rows
  // [heads] rows held now; where rows went before, for an allocator without scores, those that a
  // full cache would hold.
  std::span<const std::size_t> rows;
  std::span<const std::size_t> protected_rows;  // [heads] how many of them must stay
  // [heads][rows]; empty unless AllocatorInfo::needs_scores. Protected rows hold +infinity; across
  // layers, the others are divided by their layer's score_unit().
  std::span<const std::span<const float>> scores;
};

// How large the scores of a layer are, for an allocator that compares layers.
struct ScoreScale {
  double mass = 0;  // sum of the absolute scores of all rows that are not protected
  // Length of the hidden state of the newest token after the layer; 0: not known.
  double output_norm = 0;
};

// Divides a budget. Stateless between layers; several threads may call one object.
class Allocator {
 public:
  // Fills counts[h] for every head of the request. The engine clamps each to [protected_rows[h],
  // rows[h]]. Deterministic. REQUIRES: counts.size() == request.rows.size()
  virtual void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const = 0;
  // Across layers: by what a layer's scores are divided before other layers see them. A number
  // that is not above 0 stands for 1.
  [[nodiscard]] virtual double score_unit(const ScoreScale& /*scale*/) const { return 1.0; }
  virtual ~Allocator() = default;
};

// An allocator's entry in the table. Constant data.
struct AllocatorInfo {
  std::string_view name;
  std::string_view summary;
  std::string_view paper;
  bool needs_scores = false;
  // One pool for all layers, not a budget for each. It is asked after every layer; what it takes
  // from a head is gone, so it must never want more rows of a head than it did a layer before.
  // Needs scores.
  bool across_layers = false;
  std::span<const ParamInfo> params;
  std::unique_ptr<Allocator> (*make)(const ParamValues& values) = nullptr;
};

// All allocators, sorted by name. Generated from the files of src/budgets.
std::span<const AllocatorInfo* const> all_allocators();
// Null when there is none of that name.
const AllocatorInfo* find_allocator(std::string_view name);

}  // namespace restkv
