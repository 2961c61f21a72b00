// PyramidKV (arXiv 2406.02069): the first layers look at everything and get most, the last ones
// little, in equal steps. The mean over the layers is the budget, but for the rounding of the step.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "restkv/allocator.h"

namespace restkv {
namespace {

// Rounds down, as the publication's code does, for a negative numerator too. REQUIRES: b > 0.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

class Pyramid final : public Allocator {
 public:
  explicit Pyramid(double beta) : beta_(beta) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    for (std::size_t h = 0; h < counts.size(); ++h) counts[h] = count(request, request.rows[h]);
  }

 private:
  [[nodiscard]] std::size_t count(const AllocationRequest& request, std::size_t held) const {
    const auto rows = static_cast<std::int64_t>(held);
    const auto budget = static_cast<std::int64_t>(request.budget);
    const auto window = static_cast<std::int64_t>(request.window);
    const std::int64_t past = budget - window;  // rows beside the window, on average
    if (past <= 0 || request.n_layer < 2 || rows < 2 * past) return request.budget;
    auto last = static_cast<std::int64_t>(std::floor(static_cast<double>(past) / beta_));
    std::int64_t first = 2 * past - last;
    if (first >= rows - window) {
      first = rows - window;
      last = 2 * past - first;
    }
    const std::int64_t step = floor_divide(first - last, request.n_layer - 1);
    const std::int64_t kept = first - request.layer * step + window;
    return static_cast<std::size_t>(std::max<std::int64_t>(kept, 0));
  }

  double beta_;
};

std::unique_ptr<Allocator> make(const ParamValues& values) {
  return std::make_unique<Pyramid>(values.number("beta"));
}

constexpr ParamInfo kParams[] = {
    {.name = "beta",
     .summary = "the last layer keeps a beta-th of the mean beside the window",
     .kind = ParamKind::kNumber,
     .default_value = "20",
     .min = 1,
     .max = 1000},
};

}  // namespace

extern const AllocatorInfo pyramid_allocator;
constinit const AllocatorInfo pyramid_allocator{
    .name = "pyramid",
    .summary = "most for the first layer, least for the last, in equal steps",
    .paper = "PyramidKV, arXiv 2406.02069",
    .needs_scores = false,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
