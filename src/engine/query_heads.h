#pragma once

// A layer as policies see it where every query head keeps a set of its own: each is a KV head, with
// the rows of the one that it reads. The publications that repeat keys and values for the group see
// the same.

#include <span>
#include <vector>

#include "restkv/policy.h"

namespace restkv {

class QueryHeadView {
 public:
  // column_sums: [n_head][rows] or empty. The rows of `layer` must outlive the object.
  QueryHeadView(const LayerObservation& layer, std::vector<std::span<const float>> column_sums);
  QueryHeadView(const QueryHeadView&) = delete;
  QueryHeadView& operator=(const QueryHeadView&) = delete;

  [[nodiscard]] const LayerObservation& layer() const { return layer_; }

 private:
  std::vector<HeadRows> heads_;
  std::vector<std::span<const float>> sums_;
  LayerObservation layer_;
};

}  // namespace restkv
