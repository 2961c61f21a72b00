#include "budgets/one_cut_common.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "base/top_k.h"

namespace restkv {

void one_cut(std::span<const std::span<const float>> scores, std::span<const std::size_t> floors,
             std::size_t total, std::span<std::size_t> counts) {
  // Floors first, by raising what is forced above every score; then one cut through all heads.
  std::vector<float> all;
  std::vector<std::uint32_t> best;
  for (std::size_t h = 0; h < counts.size(); ++h) {
    const std::size_t first = all.size();
    all.insert(all.end(), scores[h].begin(), scores[h].end());
    top_k(scores[h], floors[h], best);
    for (const std::uint32_t row : best) all[first + row] = std::numeric_limits<float>::infinity();
  }
  const std::size_t forced = std::accumulate(floors.begin(), floors.end(), std::size_t{0});
  top_k(all, std::max(forced, total), best);  // ascending, head after head
  std::size_t end = 0;
  auto next = best.begin();
  for (std::size_t h = 0; h < counts.size(); ++h) {
    end += scores[h].size();
    const auto last = std::lower_bound(next, best.end(), end);
    counts[h] = static_cast<std::size_t>(last - next);
    next = last;
  }
}

}  // namespace restkv
