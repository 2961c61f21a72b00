// AdaKV (arXiv 2407.11550): the heads of a layer share one budget. Two published forms:
//   kvpress  a floor is forced for every head; the rest goes to the best scores of all heads
//            together, so the total is exact.
//   ffy0     the authors' code: one cut through all heads, and then each head's part is mixed with
//            an equal share. Each head is rounded by itself, and the equal share down: the total
//            may be half a row a head above the budget, and one and a half below.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/top_k.h"
#include "budgets/one_cut_common.h"
#include "restkv/allocator.h"

namespace restkv {
namespace {

// Rows of the budget beside the protected ones.
std::size_t free_rows(const AllocationRequest& request, std::size_t head) {
  return request.budget - std::min(request.budget, request.protected_rows[head]);
}

std::size_t share_of(double alpha, std::size_t rows) {
  return static_cast<std::size_t>(std::floor(alpha * static_cast<double>(rows)));
}

// Times the part of the head's whole that its best rows hold, as many as the budget has: a head
// that would lose much of it either way stands back. Negative scores have no parts and stay as they
// are.
std::vector<float> normalized(std::span<const float> scores, std::size_t protected_rows,
                              std::size_t free) {
  std::vector<float> result(scores.begin(), scores.end());
  std::vector<std::uint32_t> best;
  top_k(scores, std::min(protected_rows + free, scores.size()), best);
  double all = 0;
  double of_best = 0;
  for (const float score : scores) {
    if (score < 0) return result;
    if (std::isfinite(score)) all += static_cast<double>(score);
  }
  if (!(all > 0)) return result;
  for (const std::uint32_t row : best) {
    if (std::isfinite(scores[row])) of_best += static_cast<double>(scores[row]);
  }
  for (float& score : result) {
    if (!std::isfinite(score)) continue;
    score = static_cast<float>(static_cast<double>(score) * of_best / all);
  }
  return result;
}

class Ada final : public Allocator {
 public:
  explicit Ada(const ParamValues& values)
      : mixes_(values.choice("form") == "ffy0"),
        normalizes_(values.on("normalize")),
        alpha_(values.number("alpha")) {}

  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    if (!normalizes_) return divide(request, request.scores, counts);
    std::vector<std::vector<float>> made;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      made.push_back(
          normalized(request.scores[h], request.protected_rows[h], free_rows(request, h)));
    }
    divide(request, std::vector<std::span<const float>>(made.begin(), made.end()), counts);
  }

 private:
  using Scores = std::span<const std::span<const float>>;

  void divide(const AllocationRequest& request, Scores scores,
              std::span<std::size_t> counts) const {
    if (mixes_) {
      mix(request, scores, counts);
    } else {
      force(request, scores, counts);
    }
  }

  void force(const AllocationRequest& request, Scores scores, std::span<std::size_t> counts) const {
    const std::size_t share = share_of(alpha_, request.budget);
    std::vector<std::size_t> floors;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      floors.push_back(std::min(std::max(share, request.protected_rows[h]), request.rows[h]));
    }
    one_cut(scores, floors, request.budget * counts.size(), counts);
  }

  void mix(const AllocationRequest& request, Scores scores, std::span<std::size_t> counts) const {
    std::size_t total = 0;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      total += request.protected_rows[h] + free_rows(request, h);
    }
    one_cut(scores, request.protected_rows, total, counts);
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const std::size_t won = counts[h] - request.protected_rows[h];
      const std::size_t share = share_of(alpha_, free_rows(request, h));
      // Halves go to the even number, as in the authors' code.
      const double mixed =
          std::nearbyint((1 - alpha_) * static_cast<double>(won) + static_cast<double>(share));
      counts[h] = request.protected_rows[h] + static_cast<std::size_t>(mixed);
    }
  }

  bool mixes_;
  bool normalizes_;
  double alpha_;
};

std::unique_ptr<Allocator> make(const ParamValues& values) { return std::make_unique<Ada>(values); }

constexpr ParamInfo kParams[] = {
    {.name = "alpha",
     .summary = "share of the budget that every head gets in any case",
     .kind = ParamKind::kNumber,
     .default_value = "0.2",
     .min = 0,
     .max = 1},
    {.name = "form",
     .summary = "kvpress: this share is forced, and the total is the budget; ffy0 (the authors' "
                "code): of the rows beside "
                "the protected ones it is mixed in, and each head rounded: up to "
                "half a row a head above the budget and one and a half below",
     .kind = ParamKind::kChoice,
     .default_value = "kvpress",
     .min = 0,
     .max = 0,
     .choices = "kvpress|ffy0"},
    {.name = "normalize",
     .summary =
         "first multiply the scores of a head, if none is negative, by the part of their sum "
         "that its best rows, as many as the budget, hold (the publication: with ffy0)",
     .kind = ParamKind::kSwitch,
     .default_value = "off"},
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
