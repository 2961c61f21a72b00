#include "engine/query_heads.h"

#include <utility>

namespace restkv {

QueryHeadView::QueryHeadView(const LayerObservation& layer,
                             std::vector<std::span<const float>> column_sums)
    : sums_(std::move(column_sums)), layer_(layer) {
  const auto group = static_cast<std::size_t>(layer.group());
  for (const HeadRows& head : layer.heads) heads_.insert(heads_.end(), group, head);
  layer_.n_kv_head = layer.n_head;
  layer_.heads = heads_;
  layer_.column_sums = sums_;
}

}  // namespace restkv
