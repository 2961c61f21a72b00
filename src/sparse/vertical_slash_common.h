#pragma once

// The estimate of the vertical-slash pattern as plain functions.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "restkv/views.h"

namespace restkv {

inline constexpr std::size_t kForcedColumns = 30;     // first tokens, read by every query
inline constexpr std::size_t kForcedDiagonals = 100;  // shortest distances, itself included

// Columns (rows of the cache) and diagonals (distances query - key) that one query head reads,
// ascending.
struct VerticalSlash {
  std::vector<std::uint32_t> columns;
  std::vector<std::uint32_t> diagonals;
};

// attention: [queries, n], causal probabilities of the newest queries (the last row: query n - 1).
// vertical[j] = sum over the queries of what row j gets; slash[o] = sum of what lies at distance o.
// The forced ones are +infinity. Both [n].
void sum_vertical_slash(View2<const float> attention, std::span<float> vertical,
                        std::span<float> slash);

// How many of each; both are cut to the number of tokens.
struct VerticalSlashCounts {
  std::size_t columns = 1000;
  std::size_t diagonals = 6096;
};

// The largest of each; ties go to the smaller index.
VerticalSlash choose_vertical_slash(std::span<const float> vertical, std::span<const float> slash,
                                    const VerticalSlashCounts& counts);

// Rows that the queries [64 block, 64 block + 64) read: the chosen columns, and for each diagonal
// the 64 rows that it touches there. Without rows from 64 (block + 1) on.
void vertical_slash_rows(const VerticalSlash& chosen, std::size_t block,
                         std::vector<RowSpan>& rows);

}  // namespace restkv
