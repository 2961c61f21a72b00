// The same number of rows for every head of every layer.

#include <algorithm>

#include "restkv/allocator.h"

namespace restkv {
namespace {

class Uniform final : public Allocator {
 public:
  void allocate(const AllocationRequest& request, std::span<std::size_t> counts) const override {
    std::ranges::fill(counts, request.budget);
  }
};

std::unique_ptr<Allocator> make(const ParamValues& /*values*/) {
  return std::make_unique<Uniform>();
}

}  // namespace

extern const AllocatorInfo uniform_allocator;
constinit const AllocatorInfo uniform_allocator{
    .name = "uniform",
    .summary = "the same number of rows for every layer and head",
    .paper = "as in SnapKV and ReST-KV",
    .needs_scores = false,
    .params = {},
    .make = make,
};

}  // namespace restkv
