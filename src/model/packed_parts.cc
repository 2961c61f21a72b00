#include "model/packed_parts.h"

#include <utility>

#include "base/check.h"

namespace restkv {
namespace {

std::size_t aligned_bytes(const Linear& matrix, const KernelTable& kernels) {
  return (matrix.packed_bytes(kernels) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

PackedParts::PackedParts(const std::vector<std::vector<Linear*>>& parts, const KernelTable& kernels,
                         OnPacked on_packed)
    : kernels_(kernels), on_packed_(std::move(on_packed)) {
  std::size_t bytes = 0;
  for (const std::vector<Linear*>& part : parts) {
    for (const Linear* matrix : part) bytes += aligned_bytes(*matrix, kernels);
  }
  memory_ = AlignedArray<std::byte>(bytes, MemoryUse::kLarge);
  std::byte* next = memory_.data();
  for (const std::vector<Linear*>& part : parts) {
    std::byte* const first = next;
    Part& made = parts_.emplace_back();
    for (Linear* const matrix : part) {
      const std::size_t size = aligned_bytes(*matrix, kernels);
      if (size == 0) continue;
      made.copies.push_back({.matrix = matrix, .at = next});
      next += size;
    }
    made.bytes = {first, next};
  }
}

void PackedParts::hold(const Threads& threads, std::size_t part) {
  Part& held = parts_[part];
  if (std::exchange(held.is_held, true)) return;
  for (const Copy& copy : held.copies) {
    copy.matrix->pack(threads, kernels_, copy.at);
    on_packed_(*copy.matrix);
  }
}

void PackedParts::let_go(std::size_t part) {
  Part& held = parts_[part];
  if (std::exchange(held.is_held, false)) drop_pages(held.bytes);
}

}  // namespace restkv
