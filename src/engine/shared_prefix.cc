#include "engine/shared_prefix.h"

#include <utility>

namespace restkv {

SharedPrefix::SharedPrefix(std::span<const Token> tokens) : tokens_(tokens.begin(), tokens.end()) {}
SharedPrefix::SharedPrefix(SharedPrefix&&) noexcept = default;
SharedPrefix& SharedPrefix::operator=(SharedPrefix&&) noexcept = default;
SharedPrefix::~SharedPrefix() = default;

std::size_t SharedPrefix::bytes() const { return state_ ? state_->bytes(state_->contents) : 0; }

SharedPrefix::State::~State() {
  for (const Layer& layer : layers) counter->remove(layer.queries.bytes());
}

bool SharedPrefix::State::serves(const Contents& needed) const {
  return contents.type == needed.type && (contents.column_sums || !needed.column_sums) &&
         (contents.head_sums || !needed.head_sums) &&
         (contents.query_statistics || !needed.query_statistics);
}

Result<void> SharedPrefix::State::add_layer(const LayerRows& rows,
                                            const QueryAccumulator* queries) {
  // A replay's worth stands where sums do, and is no sum over these queries.
  LayerRows::Shape shape = rows.shape();
  shape.with_column_sums = contents.column_sums;
  if (!contents.head_sums) shape.head_sums = 0;
  auto copy = std::make_unique<LayerRows>(shape, *counter);
  std::vector<std::size_t> capacity;
  for (int h = 0; h < rows.shape().n_kv_head; ++h) capacity.push_back(rows.rows(h));
  RESTKV_TRY(copy->reset(capacity));
  copy->append_all(rows);
  Layer& layer = layers.emplace_back();
  layer.rows = std::move(copy);
  if (queries != nullptr) layer.queries = queries->save();
  counter->add(layer.queries.bytes());
  return {};
}

std::size_t SharedPrefix::State::bytes(const Contents& needed) const {
  std::size_t sum = 0;
  for (const Layer& layer : layers) {
    sum += layer.rows->bytes();
    if (!needed.column_sums) sum -= layer.rows->column_sum_bytes();
    if (!needed.head_sums) sum -= layer.rows->head_sum_bytes();
    if (needed.query_statistics) sum += layer.queries.bytes();
  }
  return sum;
}

}  // namespace restkv
