#include "sparse/vertical_slash_common.h"

#include <algorithm>
#include <limits>
#include <ranges>

#include "base/top_k.h"
#include "sparse/pattern.h"

namespace restkv {

void sum_vertical_slash(View2<const float> attention, std::span<float> vertical,
                        std::span<float> slash) {
  const std::size_t n = attention.cols;
  std::ranges::fill(vertical, 0.0F);
  std::ranges::fill(slash, 0.0F);
  for (std::size_t i = 0; i < attention.rows; ++i) {
    const std::size_t query = n - attention.rows + i;
    const std::span<const float> row = attention.row(i);
    for (std::size_t j = 0; j <= query; ++j) {
      vertical[j] += row[j];
      slash[query - j] += row[j];
    }
  }
  constexpr float kForced = std::numeric_limits<float>::infinity();
  std::ranges::fill(vertical.first(std::min(n, kForcedColumns)), kForced);
  std::ranges::fill(slash.first(std::min(n, kForcedDiagonals)), kForced);
}

VerticalSlash choose_vertical_slash(std::span<const float> vertical, std::span<const float> slash,
                                    const VerticalSlashCounts& counts) {
  VerticalSlash chosen;
  top_k(vertical, counts.columns, chosen.columns);
  top_k(slash, counts.diagonals, chosen.diagonals);
  return chosen;
}

void vertical_slash_rows(const VerticalSlash& chosen, std::size_t block,
                         std::vector<RowSpan>& rows) {
  rows.clear();
  const std::size_t first = block * kPatternBlock;
  const std::size_t end = first + kPatternBlock;
  // Longest distance first, so that the rows of the diagonals ascend; columns are merged in.
  auto column = chosen.columns.begin();
  const auto add_columns_before = [&](std::size_t bound) {
    for (; column != chosen.columns.end() && *column < bound; ++column) {
      append_span(*column, *column + 1, rows);
    }
  };
  for (const std::size_t distance : std::views::reverse(chosen.diagonals)) {
    if (distance >= end) continue;
    const std::size_t begin = first > distance ? first - distance : 0;
    add_columns_before(begin);
    append_span(begin, end - distance, rows);
  }
  add_columns_before(end);
}

}  // namespace restkv
