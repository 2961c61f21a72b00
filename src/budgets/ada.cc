// AdaKV (arXiv 2407.11550): the heads of a layer share one budget. A floor is forced for every
// head; the rest goes to the best scores of all heads together, so the total is exact.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/top_k.h"
#include "restkv/allocator.h"

namespace restkv {
namespace {

class Ada final : public Allocator {
 public:
  explicit Ada(double alpha) : alpha_(alpha) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    // Floors first, by raising what is forced above every score; then one cut through all heads.
    const auto share =
        static_cast<std::size_t>(std::floor(alpha_ * static_cast<double>(request.budget)));
    std::size_t forced = 0;
    std::vector<float> all;
    std::vector<std::uint32_t> best;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const std::span<const float> scores = request.scores[h];
      const std::size_t floor =
          std::min(std::max(share, request.protected_rows[h]), request.rows[h]);
      const std::size_t first = all.size();
      all.insert(all.end(), scores.begin(), scores.end());
      top_k(scores, floor, best);
      for (const std::uint32_t row : best) {
        all[first + row] = std::numeric_limits<float>::infinity();
      }
      forced += floor;
    }
    const std::size_t total = std::max(forced, request.budget * counts.size());
    top_k(all, total, best);  // ascending, head after head
    std::size_t first = 0;
    auto next = best.begin();
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const std::size_t end = first + request.rows[h];
      const auto last = std::lower_bound(next, best.end(), end);
      counts[h] = static_cast<std::size_t>(last - next);
      next = last;
      first = end;
    }
  }

 private:
  double alpha_;
};

std::unique_ptr<Allocator> make(const ParamValues& values) {
  return std::make_unique<Ada>(values.number("alpha"));
}

constexpr ParamInfo kParams[] = {
    {.name = "alpha",
     .summary = "share of the budget that every head gets in any case",
     .kind = ParamKind::kNumber,
     .default_value = "0.2",
     .min = 0,
     .max = 1,
     .choices = {}},
};

}  // namespace

extern const AllocatorInfo ada_allocator;
constinit const AllocatorInfo ada_allocator{
    .name = "ada",
    .summary = "heads of a layer compete for one budget, above a floor for each",
    .paper = "AdaKV, arXiv 2407.11550",
    .needs_scores = true,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
