#pragma once

// Copies a matrix of weights into the panels of kernels/packed.h. Private to src/tensor.

#include <cstddef>
#include <optional>

#include "base/threads.h"
#include "kernels/packed.h"

namespace restkv {

// The packed form of a ggml type; nullopt for types that have none.
[[nodiscard]] std::optional<PackedKind> packed_kind(int ggml_type);

// n_out rows of n_in weights as they lie in a file.
struct WeightRows {
  int type = 0;  // ggml_type with a packed_kind()
  const std::byte* data = nullptr;
  std::size_t n_in = 0;
  std::size_t n_out = 0;
};

// Bytes of the panels of all rows. REQUIRES: rows.type has a packed kind.
[[nodiscard]] std::size_t packed_bytes(const WeightRows& rows);
// Writes them to `out`; rows past n_out in the last panel are zero.
void pack_weights(const Threads& threads, const WeightRows& rows, std::byte* out);

}  // namespace restkv
