// Built where there is no MPI.

#include <string>

#include "cli/ranks.h"

namespace restkv {

Result<std::unique_ptr<Ranks>> join_ranks() {
  const std::size_t count = ranks_in_environment();
  if (count <= 1) return std::unique_ptr<Ranks>();
  return Error{ErrorCode::kUnsupported,
               "mpirun has started " + std::to_string(count) +
                   " processes, and this restkv was built without MPI: they would not share the "
                   "work (install libopenmpi-dev and build again)"};
}

}  // namespace restkv
