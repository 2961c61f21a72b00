#include "engine/policy_cursors.h"

namespace restkv {

std::span<const Position> PolicyCursors::of(int layer, std::size_t sets) const {
  if (cursors_.empty()) return {};
  return std::span(cursors_).subspan(static_cast<std::size_t>(layer) * sets, sets);
}

std::vector<PolicyCut> PolicyCursors::move_on(const Variant& variant, const LayerObservation& layer,
                                              std::size_t budget) {
  std::vector<PolicyCut> cuts = cut_layer(variant, layer, budget);
  if (cuts.empty()) return cuts;
  cursors_.resize(static_cast<std::size_t>(layer.n_layer) * cuts.size());
  const std::size_t first = static_cast<std::size_t>(layer.layer) * cuts.size();
  for (std::size_t h = 0; h < cuts.size(); ++h) cursors_[first + h] = cuts[h].cursor;
  return cuts;
}

}  // namespace restkv
