#include "cache/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "cache/page_pool.h"

namespace restkv {
namespace {

// Where the parts of a page begin, in bytes. Every part is a multiple of 16 rows, so each starts
// aligned for its elements.
struct PageLayout {
  std::size_t key_row = 0;
  std::size_t value_row = 0;
  std::size_t values = 0;
  std::size_t positions = 0;
  std::size_t sums = 0;
  std::size_t bytes = 0;

  explicit PageLayout(const CacheShape& shape) {
    const auto dim = static_cast<std::size_t>(shape.head_dim);
    key_row = kv_row_bytes(shape.type_k, dim);
    value_row = kv_row_bytes(shape.type_v, dim);
    values = key_row * kPageRows;
    positions = values + value_row * kPageRows;
    sums = positions + sizeof(Position) * kPageRows;
    bytes = sums + (shape.with_column_sums ? sizeof(float) * kPageRows : 0);
  }
};

// Sixteen rows of one KV head.
class Page {
 public:
  explicit Page(std::shared_ptr<PagePool> pool) : pool_(std::move(pool)), data_(pool_->take()) {}
  ~Page() { pool_->give_back(data_); }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  [[nodiscard]] std::byte* at(std::size_t offset) { return data_ + offset; }
  [[nodiscard]] const std::byte* at(std::size_t offset) const { return data_ + offset; }
  void copy_from(const Page& other) { std::memcpy(data_, other.data_, pool_->block_bytes()); }

 private:
  std::shared_ptr<PagePool> pool_;
  std::byte* data_;
};

using PagePtr = std::shared_ptr<Page>;

// The rows of one (layer, KV head): visible rows are [skip, skip + rows) counted from the first
// page.
struct HeadStore {
  std::vector<PagePtr> pages;
  std::size_t skip = 0;
  std::size_t rows = 0;
};

Error no_memory() { return {ErrorCode::kOutOfMemory, "no memory for the key-value cache"}; }

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

}  // namespace

std::size_t page_bytes(const CacheShape& shape) { return PageLayout(shape).bytes; }

std::size_t full_cache_bytes(const CacheShape& shape, std::size_t tokens) {
  std::size_t pages = 0;
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    const int window = shape.sliding_window[static_cast<std::size_t>(layer)];
    const std::size_t rows =
        window > 0 ? std::min(tokens, static_cast<std::size_t>(window)) : tokens;
    pages += pages_for_rows(rows) * static_cast<std::size_t>(shape.n_kv_head);
  }
  return pages * page_bytes(shape);
}

struct KvCache::State {
  State(CacheShape shape_in, std::shared_ptr<ByteCounter> counter)
      : shape(std::move(shape_in)),
        layout(shape),
        pool(std::make_shared<PagePool>(layout.bytes, std::move(counter))),
        heads(static_cast<std::size_t>(shape.n_layer) * static_cast<std::size_t>(shape.n_kv_head)) {
  }

  [[nodiscard]] HeadStore& head(int layer, int head_index) {
    return heads[static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape.n_kv_head) +
                 static_cast<std::size_t>(head_index)];
  }
  [[nodiscard]] PagePtr new_page() const { return std::make_shared<Page>(pool); }
  [[nodiscard]] Position position(const HeadStore& store, std::size_t row) const {
    const std::size_t at = store.skip + row;
    Position position = 0;
    std::memcpy(
        &position,
        store.pages[at / kPageRows]->at(layout.positions + at % kPageRows * sizeof(position)),
        sizeof(position));
    return position;
  }
  [[nodiscard]] float column_sum(const HeadStore& store, std::size_t row) const {
    if (!shape.with_column_sums) return 0;
    const std::size_t at = store.skip + row;
    float sum = 0;
    std::memcpy(&sum, store.pages[at / kPageRows]->at(layout.sums + at % kPageRows * sizeof(sum)),
                sizeof(sum));
    return sum;
  }
  // Writes what goes with a row beside its key and value.
  void label(Page& page, std::size_t slot, Position position, float sum) const {
    std::memcpy(page.at(layout.positions + slot * sizeof(position)), &position, sizeof(position));
    if (shape.with_column_sums) {
      std::memcpy(page.at(layout.sums + slot * sizeof(sum)), &sum, sizeof(sum));
    }
  }

  // Replaces a page by a copy that nobody else holds.
  void make_own(PagePtr& page) const {
    PagePtr own = new_page();
    own->copy_from(*page);
    page = std::move(own);
  }
  // Lets go of rows that a query at `position` cannot see through a window (0 = sees all).
  void slide(HeadStore& store, Position query, int window) const {
    while (window > 0 && store.rows > 0 && position(store, 0) <= query - window) {
      ++store.skip;
      --store.rows;
      if (store.skip == kPageRows) {
        store.pages.erase(store.pages.begin());
        store.skip = 0;
      }
    }
  }
  // Adds the named rows of `source` behind those of `target`, whose last page is its own if not
  // full.
  void copy_rows(const KernelTable& kernels, const LayerRows& source, int head_index,
                 std::span<const std::uint32_t> which, HeadStore& target) const;

  // Copies rows from, from + 1, ... over rows to, to + 1, ... with all that goes with them.
  // REQUIRES: neither run crosses the border of a page; to < from.
  void move_rows(HeadStore& store, std::size_t from, std::size_t to, std::size_t count) const;

  // Sets the column sums of the rows held to those of the first rows of `source`. The pages must be
  // the store's own.
  void take_sums(const LayerRows& source, int head_index, HeadStore& store) const {
    if (!shape.with_column_sums) return;
    const std::span<const float> sums = source.column_sums(head_index);
    for (std::size_t i = 0; i < store.rows; ++i) {
      const std::size_t at = store.skip + i;
      label(*store.pages[at / kPageRows], at % kPageRows, position(store, i), sums[i]);
    }
  }

  CacheShape shape;
  PageLayout layout;
  std::shared_ptr<PagePool> pool;  // forks share it
  std::vector<HeadStore> heads;
};

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
  if (shape.with_column_sums) move(layout.sums, sizeof(float));
}

void KvCache::State::copy_rows(const KernelTable& kernels, const LayerRows& source, int head_index,
                               std::span<const std::uint32_t> which, HeadStore& target) const {
  const HeadRows rows = source.view(head_index);
  const std::span<const float> sums = source.column_sums(head_index);
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t source_row = kv_row_bytes(rows.type, dim);
  std::vector<float> scratch(dim);
  for (const std::uint32_t row : which) {
    RESTKV_DCHECK(row < rows.positions.size());
    const std::size_t at = target.skip + target.rows;
    const std::size_t slot = at % kPageRows;
    if (at == target.pages.size() * kPageRows) target.pages.push_back(new_page());
    Page& page = *target.pages[at / kPageRows];
    convert_row(kernels, rows.type, rows.keys + row * source_row, shape.type_k,
                page.at(slot * layout.key_row), dim, scratch.data());
    convert_row(kernels, rows.type, rows.values + row * source_row, shape.type_v,
                page.at(layout.values + slot * layout.value_row), dim, scratch.data());
    label(page, slot, rows.positions[row], sums.empty() ? 0.0F : sums[row]);
    ++target.rows;
  }
}

KvCache::KvCache(CacheShape shape, std::shared_ptr<ByteCounter> counter)
    : state_(std::make_unique<State>(std::move(shape), std::move(counter))) {
  RESTKV_CHECK(state_->shape.sliding_window.size() ==
               static_cast<std::size_t>(state_->shape.n_layer));
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

Result<void> KvCache::store(const KernelTable& kernels, int layer, int head,
                            const LayerRows& source, std::span<const std::uint32_t> keep) {
  HeadStore fresh;
  try {
    fresh.pages.reserve(pages_for_rows(keep.size()));
    state_->copy_rows(kernels, source, head, keep, fresh);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  state_->head(layer, head) = std::move(fresh);
  return {};
}

Result<void> KvCache::append_rows(const KernelTable& kernels, int layer, int head,
                                  const LayerRows& source, std::size_t first) {
  RESTKV_DCHECK(state_->shape.sliding_window[static_cast<std::size_t>(layer)] == 0);
  RESTKV_DCHECK(state_->head(layer, head).rows == first);
  try {
    HeadStore grown = state_->head(layer, head);
    std::vector<std::uint32_t> rows(source.rows(head) - first);
    std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
    // A page that is written to may be shared, and a failure must lose nothing: work on copies. It
    // is the one that is not full, or one that was made ready and never used.
    const std::size_t first_page = (grown.skip + grown.rows) / kPageRows;
    for (std::size_t i = state_->shape.with_column_sums ? 0 : first_page; i < grown.pages.size();
         ++i) {
      state_->make_own(grown.pages[i]);
    }
    state_->take_sums(source, head, grown);
    state_->copy_rows(kernels, source, head, rows, grown);
    state_->head(layer, head) = std::move(grown);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  return {};
}

void KvCache::load(const KernelTable& kernels, int layer, LayerRows& target) const {
  const State& state = *state_;
  const auto dim = static_cast<std::size_t>(state.shape.head_dim);
  std::vector<float> key(dim);
  std::vector<float> value(dim);
  for (int h = 0; h < state.shape.n_kv_head; ++h) {
    const HeadStore& store = state_->head(layer, h);
    for (std::size_t i = 0; i < store.rows; ++i) {
      const std::size_t at = store.skip + i;
      const std::size_t slot = at % kPageRows;
      const Page& page = *store.pages[at / kPageRows];
      kernels.decode_row(state.shape.type_k, page.at(slot * state.layout.key_row), key.data(), dim);
      kernels.decode_row(state.shape.type_v,
                         page.at(state.layout.values + slot * state.layout.value_row), value.data(),
                         dim);
      target.append(kernels, h, state.position(store, i), key.data(), value.data(),
                    state.column_sum(store, i));
    }
  }
}

void KvCache::load_keys(const KernelTable& kernels, int layer, LayerRows& target) const {
  const State& state = *state_;
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
  state.label(page, slot, position, 0.0F);
  ++store.rows;
}

std::vector<float> KvCache::column_sums(int layer, int head) const {
  const HeadStore& store = state_->head(layer, head);
  std::vector<float> sums(store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) sums[i] = state_->column_sum(store, i);
  return sums;
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

void KvCache::keep_rows(int layer, int head, std::span<const std::uint32_t> keep) {
  HeadStore& store = state_->head(layer, head);
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
    if (from != to) state_->move_rows(store, from, to, count);
    to += count;
  }
  store.rows = keep.size();
  store.pages.resize(pages_for_rows(store.skip + store.rows));
}

void KvCache::add_to_sums(int layer, int head, std::span<const float> received) {
  HeadStore& store = state_->head(layer, head);
  RESTKV_DCHECK(state_->shape.with_column_sums && received.size() == store.rows);
  for (std::size_t i = 0; i < store.rows; ++i) {
    const std::size_t at = store.skip + i;
    state_->label(*store.pages[at / kPageRows], at % kPageRows, state_->position(store, i),
                  state_->column_sum(store, i) + received[i]);
  }
}

void KvCache::drop_from(Position position) {
  for (HeadStore& store : state_->heads) {
    while (store.rows > 0 && state_->position(store, store.rows - 1) >= position) --store.rows;
  }
}

void KvCache::pages(int layer, int head, HeadPages& out) const {
  const State& state = *state_;
  const HeadStore& store = state_->head(layer, head);
  out.pages.clear();
  out.skip_rows = store.skip;
  std::size_t left = store.skip + store.rows;
  for (const PagePtr& page : store.pages) {
    const std::size_t rows = std::min(left, kPageRows);
    if (rows == 0) break;  // reserved, nothing in it yet
    out.pages.push_back({.keys = std::as_const(*page).at(0),
                         .values = std::as_const(*page).at(state.layout.values),
                         .rows = static_cast<std::uint32_t>(rows)});
    left -= rows;
  }
}

}  // namespace restkv
