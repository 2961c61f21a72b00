// A prefill that shares its beginning with others: begins behind what is held, or fills it.

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "engine/prefill_run.h"

namespace restkv {

namespace {

// Whole blocks of queries, and whole chunks where a product's bits depend on the chunk.
std::size_t whole_parts(const Engine::State& engine, std::size_t tokens) {
  const std::size_t chunk = engine.options.chunk;
  if (tokens % chunk == 0) return tokens;
  const std::size_t blocks = tokens / kMaxQueryBlock * kMaxQueryBlock;
  // Attention, column sums and statistics go by blocks of queries, which begin anew with every
  // chunk. A product by oneDNN may have other bits for another number of rows.
  const bool whole_blocks = chunk % kMaxQueryBlock == 0 || blocks <= chunk;
  const auto products = engine.products(PassProducts::Phase::kPrefill, tokens);
  if (whole_blocks && !engine.model->rows_depend_on_company(products)) return blocks;
  return tokens / chunk * chunk;
}

}  // namespace

std::size_t Engine::State::shareable_tokens(std::size_t tokens) const {
  const std::size_t shared = whole_parts(*this, tokens);
  const auto names = [this](std::size_t n_token) {
    return model->product_names(products(PassProducts::Phase::kPrefill, n_token));
  };
  // A short prompt that begins so may have other products than a long one.
  return names(shared + 1) == names(std::numeric_limits<std::size_t>::max()) ? shared : 0;
}

// Decides whether the prompt's beginning is shared, and whether it has to be read for that.
void PrefillRun::begin_prefix() {
  SharedPrefix* const prefix = job_.options->prefix;
  if (prefix == nullptr || prefix->tokens_.empty()) return;
  const std::size_t tokens = prefix->tokens_.size();
  const PrefillOptions& options = *job_.options;
  // Every query that a policy looks at belongs to this prompt alone.
  if (job_.base != nullptr || sparse_.is_sparse() || options.on_logits || options.on_layer ||
      tokens + std::max<std::size_t>(window_, 1) > n_) {
    return;
  }
  prefix_ = prefix;
  const SharedPrefix::State::Contents needed{.type = rows_->shape().type,
                                             .column_sums = with_column_sums_,
                                             .head_sums = with_head_sums_,
                                             .query_statistics = with_query_statistics_};
  if (prefix->state_ && prefix->state_->serves(needed)) {
    begin_ = tokens;
    return;
  }
  prefix->state_.reset();
  recorded_ = std::make_unique<SharedPrefix::State>(needed, engine_.counter);
}

// Where the chunk that begins at `first` ends: at a multiple of the chunk's size, or with the
// tokens that are shared.
std::size_t PrefillRun::chunk_end(std::size_t first) const {
  const std::size_t chunk = chunk_size();
  std::size_t end = std::min(n_, (first / chunk + 1) * chunk);
  if (prefix_ != nullptr && first < prefix_->tokens_.size()) {
    end = std::min(end, prefix_->tokens_.size());
  }
  return end;
}

// Puts the layer as it was behind the shared tokens.
void PrefillRun::load_prefix(int layer) {
  if (begin_ == 0) return;
  const SharedPrefix::State::Layer& held = prefix_->state_->layers[static_cast<std::size_t>(layer)];
  rows_->append_all(*held.rows);
  if (queries_) queries_->restore(held.queries);
}

Result<void> PrefillRun::record_prefix(std::size_t done, double ms) {
  if (!recorded_ || done > prefix_->tokens_.size()) return {};
  recorded_->read_ms += ms;
  if (done < prefix_->tokens_.size()) return {};
  return recorded_->add_layer(*rows_, queries_ ? &*queries_ : nullptr);
}

void PrefillRun::end_prefix() {
  if (prefix_ == nullptr) return;
  if (recorded_) prefix_->state_ = std::move(recorded_);
  engine_.last_prefill.prefix_tokens = begin_;
  engine_.last_prefill.prefix_ms = prefix_->state_->read_ms;
}

// What of the shared beginning this variant would hold if it were alone.
std::size_t PrefillRun::prefix_bytes(const VariantRun& run) const {
  if (prefix_ == nullptr) return 0;
  const Needs needs = run.variant->needs();
  const bool sums = has(needs, Needs::kColumnSums);
  const SharedPrefix::State& state = recorded_ ? *recorded_ : *prefix_->state_;
  return state.bytes({.type = state.contents.type,
                      .column_sums = sums && run.sets() == 1,
                      .head_sums = sums && run.sets() > 1,
                      .query_statistics = has(needs, Needs::kQueryStatistics)});
}

}  // namespace restkv
