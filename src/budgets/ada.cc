// AdaKV (arXiv 2407.11550): the heads of a layer share one budget. A floor is forced for every
// head; the rest goes to the best scores of all heads together, so the total is exact.

#include <algorithm>
#include <cmath>
#include <vector>

#include "budgets/one_cut_common.h"
#include "restkv/allocator.h"

namespace restkv {
namespace {

class Ada final : public Allocator {
 public:
  explicit Ada(double alpha) : alpha_(alpha) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    const auto share =
        static_cast<std::size_t>(std::floor(alpha_ * static_cast<double>(request.budget)));
    std::vector<std::size_t> floors;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      floors.push_back(std::min(std::max(share, request.protected_rows[h]), request.rows[h]));
    }
    one_cut(request.scores, floors, request.budget * counts.size(), counts);
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
     .max = 1},
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
