#include "sparse/cache_summaries.h"

#include <utility>

namespace restkv {

CacheSummaries::CacheSummaries(const CacheSummaries& other)
    : heads_(other.heads_), counter_(other.counter_) {
  std::size_t bytes = 0;
  for (const auto& head : heads_) bytes += head ? head->bytes() : 0;
  charge(bytes);
}

BlockSummaries& CacheSummaries::prepare(const CacheShape& cache,
                                        std::shared_ptr<ByteCounter> counter, int layer, int head,
                                        const BlockSummaries::Shape& shape, std::size_t blocks) {
  const auto n_kv_head = static_cast<std::size_t>(cache.n_kv_head);
  if (counter_ == nullptr) counter_ = std::move(counter);
  heads_.resize(static_cast<std::size_t>(cache.n_layer) * n_kv_head);
  auto& summaries =
      heads_[static_cast<std::size_t>(layer) * n_kv_head + static_cast<std::size_t>(head)];
  if (!summaries) summaries.emplace(shape);
  const std::size_t before = summaries->bytes();
  summaries->reserve(blocks);
  if (summaries->bytes() != before) charge(charged_ - before + summaries->bytes());
  return *summaries;
}

void CacheSummaries::clear() {
  heads_.clear();
  charge(0);
}

void CacheSummaries::swap(CacheSummaries& other) noexcept {
  std::swap(heads_, other.heads_);
  std::swap(counter_, other.counter_);
  std::swap(charged_, other.charged_);
}

void CacheSummaries::charge(std::size_t bytes) {
  if (counter_ != nullptr && charged_ > 0) counter_->remove(charged_);
  if (counter_ != nullptr && bytes > 0) counter_->add(bytes);
  charged_ = bytes;
}

}  // namespace restkv
