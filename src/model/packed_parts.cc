#include "model/packed_parts.h"

#include <utility>

namespace restkv {
namespace {

std::size_t aligned_bytes(const Linear& matrix, const KernelTable& kernels) {
  return (matrix.packed_bytes(kernels) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::size_t PackedParts::bytes_of(const Matrices& parts, const KernelTable& kernels) {
  std::size_t bytes = 0;
  for (const std::vector<Linear*>& part : parts) {
    for (const Linear* matrix : part) bytes += aligned_bytes(*matrix, kernels);
  }
  return bytes;
}

PackedParts::PackedParts(const Matrices& parts, const KernelTable& kernels, OnPacked on_packed)
    : kernels_(kernels),
      on_packed_(std::move(on_packed)),
      memory_(bytes_of(parts, kernels), MemoryUse::kLarge) {
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
  if (held.is_held) return;
  for (const Copy& copy : held.copies) {
    copy.matrix->pack(threads, kernels_, copy.at);
    on_packed_(*copy.matrix);
  }
  held.is_held = true;  // not before: after an exception its memory is that of no weights
}

// With what lies between it and the next parts that are held: a page may belong to two parts, and
// the system may have made one large page of a part's end and what was gone beside it.
void PackedParts::let_go(std::size_t part) {
  if (!std::exchange(parts_[part].is_held, false)) return;
  std::size_t first = part;
  std::size_t last = part;
  while (first > 0 && !parts_[first - 1].is_held) --first;
  while (last + 1 < parts_.size() && !parts_[last + 1].is_held) ++last;
  drop_pages({parts_[first].bytes.data(), parts_[last].bytes.data() + parts_[last].bytes.size()});
}

}  // namespace restkv
