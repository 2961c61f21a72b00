#pragma once

// Calls an allocator by name.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "restkv/allocator.h"

namespace restkv {

struct AllocatorCall {
  int layer = 0;
  int n_layer = 4;
  std::size_t budget = 8;
  std::size_t pool = 0;
  std::size_t window = 2;
  std::vector<std::size_t> rows = {};            // empty: as many as there are scores
  std::vector<std::size_t> protected_rows = {};  // empty: none
  std::vector<std::vector<float>> scores = {};
};

inline std::vector<std::size_t> counts_of(std::string_view allocator, const AllocatorCall& call) {
  const auto named = parse_named_params(allocator);
  RESTKV_CHECK(named.ok());
  const AllocatorInfo* info = find_allocator(named->name);
  RESTKV_CHECK(info != nullptr);
  const auto values = ParamValues::parse(info->name, info->params, named->assignments);
  RESTKV_CHECK(values.ok());
  std::vector<std::size_t> rows = call.rows;
  if (rows.empty()) {
    for (const auto& head : call.scores) rows.push_back(head.size());
  }
  std::vector<std::size_t> protected_rows = call.protected_rows;
  protected_rows.resize(rows.size(), 0);
  const std::vector<std::span<const float>> scores(call.scores.begin(), call.scores.end());
  std::vector<std::size_t> counts(rows.size(), static_cast<std::size_t>(-1));
  info->make(*values)->allocate({.layer = call.layer,
                                 .n_layer = call.n_layer,
                                 .budget = call.budget,
                                 .pool = call.pool,
                                 .window = call.window,
                                 .rows = rows,
                                 .protected_rows = protected_rows,
                                 .scores = scores},
                                counts);
  return counts;
}

}  // namespace restkv
