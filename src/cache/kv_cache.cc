#include "cache/kv_cache.h"

#include <algorithm>
#include <new>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "cache/kv_cache_state.h"

namespace restkv {

std::size_t page_bytes(const CacheShape& shape) { return PageLayout(shape).bytes; }

std::size_t full_cache_bytes(const CacheShape& shape, std::size_t tokens) {
  std::size_t pages = 0;
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    const std::size_t rows =
        full_rows(shape.sliding_window[static_cast<std::size_t>(layer)], tokens);
    pages += pages_for_rows(rows) * static_cast<std::size_t>(shape.n_kv_head);
  }
  return pages * page_bytes(shape);
}

KvCache::KvCache(CacheShape shape, std::shared_ptr<ByteCounter> counter)
    : state_(std::make_unique<State>(std::move(shape), std::move(counter))) {
  RESTKV_CHECK(state_->shape.sliding_window.size() ==
               static_cast<std::size_t>(state_->shape.n_layer));
  RESTKV_CHECK(state_->shape.sets >= 1);
}
KvCache::KvCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

KvCache KvCache::fork() const { return KvCache(std::make_unique<State>(*state_)); }

const CacheShape& KvCache::shape() const { return state_->shape; }

std::size_t KvCache::rows(int layer, int head) const { return state_->head(layer, head).rows; }

std::vector<Position> KvCache::positions(int layer, int head) const {
  const HeadStore& store = state_->head(layer, head);
  std::vector<Position> positions(store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) positions[i] = state_->position(store, i);
  return positions;
}

std::size_t KvCache::bytes() const {
  std::size_t pages = 0;
  for (const HeadStore& store : state_->heads) pages += store.pages.size();
  return pages * state_->layout.bytes;
}

KvCache::Memory KvCache::memory() const {
  return {.pages = state_->pool->bytes_out(), .slabs = state_->pool->slab_bytes()};
}

std::size_t KvCache::bytes_beyond(const KvCache& base) const {
  std::unordered_set<const Page*> shared;
  for (const HeadStore& store : base.state_->heads) {
    for (const PagePtr& page : store.pages) shared.insert(page.get());
  }
  std::size_t pages = 0;
  for (const HeadStore& store : state_->heads) {
    for (const PagePtr& page : store.pages) pages += shared.contains(page.get()) ? 0 : 1;
  }
  return pages * state_->layout.bytes;
}

Result<void> KvCache::reserve_row(Position position) {
  try {
    for (std::size_t i = 0; i < state_->heads.size(); ++i) {
      HeadStore& store = state_->heads[i];
      const auto layer = i / static_cast<std::size_t>(state_->shape.n_kv_head);
      state_->slide(store, position, state_->shape.sliding_window[layer]);
      const std::size_t end = store.skip + store.rows;
      if (end == store.pages.size() * kPageRows) {
        store.pages.push_back(state_->new_page());
      } else if (store.pages[end / kPageRows].use_count() > 1) {  // shared with a fork
        state_->make_own(store.pages[end / kPageRows]);
      }
    }
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  return {};
}

void KvCache::append(const KernelTable& kernels, int layer, int head, Position position,
                     const float* key, const float* value) {
  const State& state = *state_;
  HeadStore& store = state_->head(layer, head);
  RESTKV_DCHECK(store.rows == 0 || state.position(store, store.rows - 1) < position);
  const auto dim = static_cast<std::size_t>(state.shape.head_dim);
  const std::size_t end = store.skip + store.rows;
  RESTKV_CHECK(end < store.pages.size() * kPageRows);
  const std::size_t slot = end % kPageRows;
  Page& page = *store.pages[end / kPageRows];
  kernels.encode_row(state.shape.type_k, key, page.at(slot * state.layout.key_row), dim);
  kernels.encode_row(state.shape.type_v, value,
                     page.at(state.layout.values + slot * state.layout.value_row), dim);
  state.label(page, slot, position);
  state.hold_in_all(page, slot);
  ++store.rows;
}

std::vector<std::uint32_t> KvCache::held_rows(int layer, int set) const {
  const int sets = state_->shape.sets;
  return state_->held(state_->head(layer, set / sets), static_cast<std::size_t>(set % sets));
}

std::size_t KvCache::held_count(int layer, int set) const {
  const int sets = state_->shape.sets;
  const HeadStore& store = state_->head(layer, set / sets);
  if (sets == 1) return store.rows;
  std::size_t count = 0;
  for (std::size_t i = 0; i < store.rows; ++i) {
    count += state_->holds(store, i, static_cast<std::size_t>(set % sets)) ? 1 : 0;
  }
  return count;
}

std::vector<Position> KvCache::held_positions(int layer, int set) const {
  const HeadStore& store = state_->head(layer, set / state_->shape.sets);
  std::vector<Position> positions;
  positions.reserve(store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) {
    if (!state_->holds(store, i, static_cast<std::size_t>(set % state_->shape.sets))) continue;
    positions.push_back(state_->position(store, i));
  }
  return positions;
}

bool KvCache::sets_agree() const {
  if (state_->shape.sets == 1) return true;
  return std::ranges::all_of(state_->heads, [&](const HeadStore& store) {
    for (std::size_t i = 0; i < store.rows; ++i) {
      for (std::size_t set = 0; set < state_->sets(); ++set) {
        if (!state_->holds(store, i, set)) return false;
      }
    }
    return true;
  });
}

std::vector<float> KvCache::column_sums(int layer, int set) const {
  const int sets = state_->shape.sets;
  const HeadStore& store = state_->head(layer, set / sets);
  const auto own = static_cast<std::size_t>(set % sets);
  std::vector<float> sums;
  sums.reserve(store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) {
    if (state_->holds(store, i, own)) sums.push_back(state_->column_sum(store, i, own));
  }
  return sums;
}

void KvCache::add_to_sums(int layer, int set, std::span<const float> received) {
  RESTKV_DCHECK(state_->shape.with_column_sums && received.size() == held_count(layer, set));
  const int sets = state_->shape.sets;
  HeadStore& store = state_->head(layer, set / sets);
  const auto own = static_cast<std::size_t>(set % sets);
  std::size_t next = 0;
  for (std::size_t i = 0; i < store.rows; ++i) {
    if (!state_->holds(store, i, own)) continue;
    const std::size_t at = store.skip + i;
    state_->set_sum(*store.pages[at / kPageRows], at % kPageRows, own,
                    state_->column_sum(store, i, own) + received[next++]);
  }
}

void KvCache::drop_from(Position position) {
  for (HeadStore& store : state_->heads) {
    while (store.rows > 0 && state_->position(store, store.rows - 1) >= position) --store.rows;
  }
}

void KvCache::pages(int layer, int head, HeadPages& out) const {
  const HeadStore& store = state_->head(layer, head);
  out.pages.clear();
  out.skip_rows = store.skip;
  append_pages(layer, head, 0, store.pages.size(), out);
}

void KvCache::append_pages(int layer, int head, std::size_t first, std::size_t end,
                           HeadPages& out) const {
  const State& state = *state_;
  const HeadStore& store = state_->head(layer, head);
  const std::size_t rows = store.skip + store.rows;  // pages beyond are reserved, with nothing in
  for (std::size_t i = first; i < std::min(end, pages_for_rows(rows)); ++i) {
    const PagePtr& page = store.pages[i];
    out.pages.push_back(
        {.keys = page.data(),
         .values = page.data() + state.layout.values,
         .rows = static_cast<std::uint32_t>(std::min(rows - i * kPageRows, kPageRows)),
         .masks = state.shape.sets > 1 ? state.mask_of(std::as_const(*page), 0) : nullptr});
  }
}

}  // namespace restkv
