#include "kernels/packed.h"

namespace restkv {

PackedLayout packed_layout(PackedKind kind) {
  const auto layout = [](std::size_t bits, std::size_t outer_bytes) {
    const std::size_t quant_bytes = kPanelRows * kPackedBlock * bits / 8;
    return PackedLayout{.quant_bytes = quant_bytes,
                        .block_bytes = quant_bytes + 2 * kPanelRows,
                        .outer_bytes = outer_bytes};
  };
  switch (kind) {
    case PackedKind::kQ4_0: return layout(4, 0);
    case PackedKind::kQ5_0: return layout(5, 0);
    case PackedKind::kQ8_0: return layout(8, 0);
    case PackedKind::kQ4_K: return layout(4, 4 * kPanelRows);
    case PackedKind::kQ5_K: return layout(5, 4 * kPanelRows);
    case PackedKind::kQ6_K: return layout(6, 2 * kPanelRows);
  }
  return {};
}

std::size_t packed_scratch_bytes(std::size_t n_in) {
  return n_in / kPackedBlock * kPanelsTogether * kUnpackedBlockBytes;
}

}  // namespace restkv
