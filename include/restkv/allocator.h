#pragma once

// What the author of a budget allocator sees: how many rows does each KV head of a layer keep?

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "restkv/params.h"

namespace restkv {

struct AllocationRequest {
  int layer = 0;
  int n_layer = 0;
  std::size_t budget = 0;  // nominal rows per KV head and layer, protected ones included
  std::size_t window = 0;  // observation window, in rows
  // [n_kv_head] rows held now; while generating, for an allocator without scores, the rows that a
  // full cache would hold.
  std::span<const std::size_t> rows;
  std::span<const std::size_t> protected_rows;  // [n_kv_head] how many of them must stay
  // [n_kv_head][rows]; empty unless AllocatorInfo::needs_scores. Protected rows hold +infinity.
  std::span<const std::span<const float>> scores;
};

// Divides a budget. Stateless between layers; several threads may call one object.
class Allocator {
 public:
  // Fills counts[h] for every KV head. The engine clamps each to [protected_rows[h], rows[h]].
  // Deterministic.
  // REQUIRES: counts.size() == request.rows.size()
  virtual void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const = 0;
  virtual ~Allocator() = default;
};

// An allocator's entry in the table. Constant data.
struct AllocatorInfo {
  std::string_view name;
  std::string_view summary;
  std::string_view paper;
  bool needs_scores = false;
  std::span<const ParamInfo> params;
  std::unique_ptr<Allocator> (*make)(const ParamValues& values) = nullptr;
};

// All allocators, sorted by name. Generated from the files of src/budgets.
std::span<const AllocatorInfo* const> all_allocators();
// Null when there is none of that name.
const AllocatorInfo* find_allocator(std::string_view name);

}  // namespace restkv
