// How rows come into the cache, go out to a layer that is read again, and leave: what differs when
// the query heads of a KV head have sets of their own.

#include <algorithm>
#include <new>
#include <numeric>

#include "base/check.h"
#include "cache/kv_cache_state.h"

namespace restkv {
namespace {

// Converts one row between element types; `scratch` holds head_dim floats.
void convert_row(const KernelTable& kernels, KvType from, const std::byte* source, KvType to,
                 std::byte* target, std::size_t dim, float* scratch) {
  if (from == to) {
    std::memcpy(target, source, kv_row_bytes(from, dim));
    return;
  }
  kernels.decode_row(from, source, scratch, dim);
  kernels.encode_row(to, scratch, target, dim);
}

// Positions that any set keeps, ascending.
std::vector<Position> positions_of(std::span<const KeptRows> kept) {
  std::vector<Position> positions;
  for (const KeptRows& set : kept) {
    for (const std::uint32_t row : set.keep) positions.push_back(set.rows.positions[row]);
  }
  if (kept.size() > 1) {
    std::ranges::sort(positions);
    positions.erase(std::ranges::unique(positions).begin(), positions.end());
  }
  return positions;
}

std::vector<std::uint32_t> numbers(std::size_t first, std::size_t end) {
  std::vector<std::uint32_t> all(end - first);
  std::iota(all.begin(), all.end(), static_cast<std::uint32_t>(first));
  return all;
}

// Rows before the first that differs from its place.
std::size_t same_places(std::span<const std::uint32_t> keep) {
  std::size_t same = 0;
  while (same < keep.size() && keep[same] == same) ++same;
  return same;
}

}  // namespace

std::vector<std::uint32_t> KvCache::State::held(const HeadStore& store, std::size_t set) const {
  if (shape.sets == 1) return numbers(0, store.rows);
  std::vector<std::uint32_t> rows;
  rows.reserve(store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) {
    if (holds(store, i, set)) rows.push_back(static_cast<std::uint32_t>(i));
  }
  return rows;
}

void KvCache::State::add_rows(const KernelTable& kernels, std::span<const KeptRows> kept,
                              HeadStore& target) const {
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  std::vector<float> scratch(dim);
  std::vector<std::size_t> next(kept.size(), 0);  // of each set's rows
  for (const Position position : positions_of(kept)) {
    const std::size_t at = target.skip + target.rows;
    const std::size_t slot = at % kPageRows;
    if (at == target.pages.size() * kPageRows) target.pages.push_back(new_page());
    Page& page = *target.pages[at / kPageRows];
    label(page, slot, position);
    bool copied = false;
    for (std::size_t set = 0; set < kept.size(); ++set) {
      const KeptRows& from = kept[set];
      if (next[set] == from.keep.size()) continue;
      const std::uint32_t row = from.keep[next[set]];
      RESTKV_DCHECK(row < from.rows.positions.size());
      if (from.rows.positions[row] != position) continue;
      ++next[set];
      set_held(page, slot, set, true);
      set_sum(page, slot, set, from.sums.empty() ? 0.0F : from.sums[row]);
      if (copied) continue;
      copied = true;
      const std::size_t source_row = kv_row_bytes(from.rows.type, dim);
      convert_row(kernels, from.rows.type, from.rows.keys + row * source_row, shape.type_k,
                  page.at(slot * layout.key_row), dim, scratch.data());
      convert_row(kernels, from.rows.type, from.rows.values + row * source_row, shape.type_v,
                  page.at(layout.values + slot * layout.value_row), dim, scratch.data());
    }
    ++target.rows;
  }
}

void KvCache::State::move_rows(HeadStore& store, std::size_t from, std::size_t to,
                               std::size_t count) const {
  const Page& source = *store.pages[(store.skip + from) / kPageRows];
  Page& target = *store.pages[(store.skip + to) / kPageRows];
  const std::size_t first = (store.skip + from) % kPageRows;
  const std::size_t slot = (store.skip + to) % kPageRows;
  const auto move = [&](std::size_t offset, std::size_t row_bytes) {
    std::memmove(target.at(offset + slot * row_bytes), source.at(offset + first * row_bytes),
                 count * row_bytes);
  };
  move(0, layout.key_row);
  move(layout.values, layout.value_row);
  move(layout.positions, sizeof(Position));
  if (shape.with_column_sums) move(layout.sums, sets() * sizeof(float));
  move(layout.masks, layout.row_mask);
}

void KvCache::State::compact(HeadStore& store, std::span<const std::uint32_t> keep) const {
  RESTKV_DCHECK(keep.empty() || keep.back() < store.rows);
  std::size_t to = 0;
  while (to < keep.size()) {
    const std::size_t from = keep[to];
    // Rows that follow one another are moved together, as far as both pages reach.
    std::size_t count = 1;
    const std::size_t room = kPageRows - (store.skip + to) % kPageRows;
    const std::size_t left = kPageRows - (store.skip + from) % kPageRows;
    const std::size_t most = std::min({room, left, keep.size() - to});
    while (count < most && keep[to + count] == from + count) ++count;
    if (from != to) move_rows(store, from, to, count);
    to += count;
  }
  cut(store, keep.size());
}

Result<void> KvCache::store(const KernelTable& kernels, int layer, int head,
                            std::span<const KeptRows> kept) {
  RESTKV_CHECK(kept.size() == state_->sets());
  HeadStore fresh;
  try {
    fresh.pages.reserve(pages_for_rows(kept.front().keep.size()));
    state_->add_rows(kernels, kept, fresh);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  state_->head(layer, head) = std::move(fresh);
  return {};
}

Result<void> KvCache::store(const KernelTable& kernels, int layer, int head,
                            const LayerRows& source, std::span<const std::uint32_t> keep) {
  const KeptRows kept{.rows = source.view(head), .keep = keep, .sums = source.column_sums(head)};
  return store(kernels, layer, head, {&kept, 1});
}

Result<void> KvCache::append_rows(const KernelTable& kernels, int layer, int head,
                                  std::span<const KeptRows> sets, std::size_t count) {
  RESTKV_CHECK(sets.size() == state_->sets());
  RESTKV_DCHECK(state_->shape.sliding_window[static_cast<std::size_t>(layer)] == 0);
  try {
    HeadStore grown = state_->head(layer, head);
    // A page that is written to may be shared, and a failure must lose nothing: work on copies. It
    // is the one that is not full, or one that was made ready and never used.
    const std::size_t first_page = (grown.skip + grown.rows) / kPageRows;
    for (std::size_t i = state_->shape.with_column_sums ? 0 : first_page; i < grown.pages.size();
         ++i) {
      state_->make_own(grown.pages[i]);
    }
    std::vector<std::vector<std::uint32_t>> added;
    std::vector<KeptRows> kept(sets.begin(), sets.end());
    for (std::size_t set = 0; set < sets.size(); ++set) {
      const std::vector<std::uint32_t> held = state_->held(grown, set);
      const std::size_t rows = sets[set].rows.positions.size();
      RESTKV_CHECK(rows == held.size() + count);
      for (std::size_t i = 0; i < held.size() && !sets[set].sums.empty(); ++i) {
        const std::size_t at = grown.skip + held[i];
        state_->set_sum(*grown.pages[at / kPageRows], at % kPageRows, set, sets[set].sums[i]);
      }
      added.push_back(numbers(held.size(), rows));
      kept[set].keep = added.back();
    }
    state_->add_rows(kernels, kept, grown);
    state_->head(layer, head) = std::move(grown);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  return {};
}

Result<void> KvCache::append_rows(const KernelTable& kernels, int layer, int head,
                                  const LayerRows& source, std::size_t first) {
  RESTKV_DCHECK(state_->head(layer, head).rows == first);
  const KeptRows rows{.rows = source.view(head), .keep = {}, .sums = source.column_sums(head)};
  return append_rows(kernels, layer, head, {&rows, 1}, source.rows(head) - first);
}

void KvCache::load(const KernelTable& kernels, int layer, LayerRows& target) const {
  const State& state = *state_;
  const auto dim = static_cast<std::size_t>(state.shape.head_dim);
  const int sets_apart = target.shape().n_kv_head / state.shape.n_kv_head;
  RESTKV_CHECK(sets_apart == 1 || sets_apart == state.shape.sets);
  RESTKV_DCHECK(sets_apart > 1 || sets_agree());
  std::vector<float> key(dim);
  std::vector<float> value(dim);
  for (int to = 0; to < target.shape().n_kv_head; ++to) {
    const HeadStore& store = state_->head(layer, to / sets_apart);
    const auto set = static_cast<std::size_t>(to % sets_apart);
    for (std::size_t i = 0; i < store.rows; ++i) {
      if (sets_apart > 1 && !state.holds(store, i, set)) continue;
      const std::size_t at = store.skip + i;
      const std::size_t slot = at % kPageRows;
      const Page& page = *store.pages[at / kPageRows];
      kernels.decode_row(state.shape.type_k, page.at(slot * state.layout.key_row), key.data(), dim);
      kernels.decode_row(state.shape.type_v,
                         page.at(state.layout.values + slot * state.layout.value_row), value.data(),
                         dim);
      target.append(kernels, to, state.position(store, i), key.data(), value.data(),
                    state.column_sum(store, i, set));
      if (target.shape().head_sums == 0 || sets_apart > 1) continue;
      for (std::size_t own = 0; own < state.sets(); ++own) {
        target.head_sums(to, static_cast<int>(own)).back() = state.column_sum(store, i, own);
      }
    }
  }
}

void KvCache::load_keys(const KernelTable& kernels, int layer, LayerRows& target) const {
  const State& state = *state_;
  RESTKV_CHECK(state.shape.sets == 1);
  const auto dim = static_cast<std::size_t>(state.shape.head_dim);
  std::vector<float> key(dim);
  for (int h = 0; h < state.shape.n_kv_head; ++h) {
    const HeadStore& store = state_->head(layer, h);
    for (std::size_t i = 0; i < store.rows; ++i) {
      const std::size_t at = store.skip + i;
      const Page& page = *store.pages[at / kPageRows];
      kernels.decode_row(state.shape.type_k, page.at(at % kPageRows * state.layout.key_row),
                         key.data(), dim);
      target.set_key(kernels, h, i, key.data());
    }
  }
}

std::size_t KvCache::first_change(int layer, int head,
                                  std::span<const std::vector<std::uint32_t>> keep) const {
  const HeadStore& store = state_->head(layer, head);
  if (state_->shape.sets == 1) return same_places(keep.front());
  std::size_t first = store.rows;
  for (std::size_t set = 0; set < keep.size(); ++set) {
    const std::vector<std::uint32_t> held = state_->held(store, set);
    const std::size_t same = same_places(keep[set]);
    if (same < held.size()) first = std::min<std::size_t>(first, held[same]);
  }
  return first;
}

Result<void> KvCache::make_writable(int layer, int head, std::size_t first) {
  HeadStore& store = state_->head(layer, head);
  try {
    for (std::size_t i = (store.skip + first) / kPageRows; i < store.pages.size(); ++i) {
      if (store.pages[i].use_count() > 1) state_->make_own(store.pages[i]);
    }
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  return {};
}

void KvCache::keep_rows(int layer, int head, std::span<const std::vector<std::uint32_t>> keep) {
  HeadStore& store = state_->head(layer, head);
  RESTKV_CHECK(keep.size() == state_->sets());
  if (state_->shape.sets == 1) return state_->compact(store, keep.front());
  for (std::size_t set = 0; set < keep.size(); ++set) {
    std::uint32_t place = 0;  // among the rows that the set holds
    std::size_t next = 0;
    for (std::size_t i = 0; i < store.rows; ++i) {
      if (!state_->holds(store, i, set)) continue;
      const bool is_kept = next < keep[set].size() && keep[set][next] == place;
      next += is_kept ? 1 : 0;
      ++place;
      if (is_kept) continue;
      const std::size_t at = store.skip + i;
      state_->set_held(*store.pages[at / kPageRows], at % kPageRows, set, false);
    }
    RESTKV_DCHECK(next == keep[set].size());
  }
  std::size_t to = 0;
  for (std::size_t i = 0; i < store.rows; ++i) {
    bool any = false;
    for (std::size_t set = 0; set < keep.size() && !any; ++set) any = state_->holds(store, i, set);
    if (!any) continue;
    if (i != to) state_->move_rows(store, i, to, 1);
    ++to;
  }
  state_->cut(store, to);
}

}  // namespace restkv
