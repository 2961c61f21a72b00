#pragma once

// Where a policy with Needs::kCursor goes on in each set of rows: what it carries from cut to cut.
// A copy belongs to a fork, or to a step or turn that may still fail.

#include <cstddef>
#include <span>
#include <vector>

#include "engine/compress.h"
#include "engine/variant.h"
#include "restkv/policy.h"

namespace restkv {

class PolicyCursors {
 public:
  // LayerObservation::cursors. Valid until a cursor of the layer moves.
  [[nodiscard]] std::span<const Position> of(int layer, std::size_t sets) const;
  // The layer that `layer` shows has been scored: its cursors move on. What this cut does to each
  // set; nothing for other policies. Throws std::bad_alloc.
  std::vector<PolicyCut> move_on(const Variant& variant, const LayerObservation& layer,
                                 std::size_t budget);

  bool operator==(const PolicyCursors&) const = default;

 private:
  std::vector<Position> cursors_;  // [layers * sets]; empty before the first cut
};

}  // namespace restkv
