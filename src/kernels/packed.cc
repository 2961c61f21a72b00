#include "kernels/packed.h"

namespace restkv {

std::size_t packed_scratch_bytes(std::size_t n_in) {
  return n_in / kPackedBlock * kPanelsTogether * kUnpackedBlockBytes;
}

}  // namespace restkv
