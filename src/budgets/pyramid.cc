// PyramidKV (arXiv 2406.02069): the first layers look at everything and get most, the last ones
// little, in equal steps. Three published forms:
//   factory  the authors' code (KVCache-Factory): a step is rounded down, so the mean over the
//            layers is the budget or up to (layers - 2) / 2 rows more. A text below two budgets,
//            windows not counted, is divided evenly.
//   restkv   the copy in ReST-KV's code, without that case.
//   kvpress  each layer is rounded by itself, so the mean is the budget. The window is a part of
//            what is divided; where the last layer would keep less than it, layers are even.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "restkv/allocator.h"

namespace restkv {
namespace {

enum class Form : std::uint8_t { kFactory, kRestKv, kKvPress };

Form form_of(std::string_view name) {
  if (name == "restkv") return Form::kRestKv;
  return name == "kvpress" ? Form::kKvPress : Form::kFactory;
}

// Rounds down, as the publication's code does, for a negative numerator too. REQUIRES: b > 0.
std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

class Pyramid final : public Allocator {
 public:
  explicit Pyramid(const ParamValues& values)
      : form_(form_of(values.choice("form"))), beta_(values.number("beta")) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    for (std::size_t h = 0; h < counts.size(); ++h) {
      counts[h] = form_ == Form::kKvPress ? rounded(request, request.rows[h])
                                          : stepped(request, request.rows[h]);
    }
  }

 private:
  [[nodiscard]] std::size_t stepped(const AllocationRequest& request, std::size_t held) const {
    const auto rows = static_cast<std::int64_t>(held);
    const auto budget = static_cast<std::int64_t>(request.budget);
    const auto window = static_cast<std::int64_t>(request.window);
    const std::int64_t past = budget - window;  // rows beside the window, on average
    const std::int64_t least = form_ == Form::kFactory ? 2 * past : budget;
    if (past <= 0 || request.n_layer < 2 || rows < least) return request.budget;
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

  [[nodiscard]] std::size_t rounded(const AllocationRequest& request, std::size_t held) const {
    const auto rows = static_cast<double>(held);
    const auto budget = static_cast<double>(request.budget);
    const auto window = static_cast<double>(request.window);
    double last = budget / beta_;
    double first = 2 * budget - last;
    if (first >= rows - window) {
      first = rows - window;
      last = 2 * budget - first;
    }
    const bool falls = rows >= first && first >= last && last >= window;
    if (!falls || request.n_layer < 2) return request.budget;
    const double step = (first - last) / (request.n_layer - 1);
    // Halves go to the even number, so what one layer gains by it another one loses.
    return static_cast<std::size_t>(std::nearbyint(first - request.layer * step));
  }

  Form form_;
  double beta_;
};

std::unique_ptr<Allocator> make(const ParamValues& values) {
  return std::make_unique<Pyramid>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "beta",
     .summary = "the last layer keeps a beta-th of the mean beside the window",
     .kind = ParamKind::kNumber,
     .default_value = "20",
     .min = 1,
     .max = 1000},
    {.name = "form",
     .summary =
         "factory (the authors' code): the step is rounded down, and all layers together keep up "
         "to (layers - 2) / 2 rows a layer above the budget; restkv: the same for texts below "
         "two budgets, where the others are even; kvpress: each layer is rounded, window "
         "included, and the total is the budget",
     .kind = ParamKind::kChoice,
     .default_value = "factory",
     .min = 0,
     .max = 0,
     .choices = "factory|restkv|kvpress"},
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
