#pragma once

// What stands behind KvCache: pages of 16 rows, and the lists of them. Only kv_cache.cc and
// kv_cache_rows.cc look inside.

#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/page_pool.h"

namespace restkv {

inline Error no_memory() { return {ErrorCode::kOutOfMemory, "no memory for the key-value cache"}; }

// Where the parts of a page begin, in bytes. Every part is a multiple of 16 rows, so each starts
// aligned for its elements.
struct PageLayout {
  std::size_t key_row = 0;
  std::size_t value_row = 0;
  std::size_t values = 0;
  std::size_t positions = 0;
  std::size_t sums = 0;   // [kPageRows][sets]
  std::size_t masks = 0;  // [kPageRows][row_mask]
  std::size_t row_mask = 0;
  std::size_t bytes = 0;

  explicit PageLayout(const CacheShape& shape) {
    const auto dim = static_cast<std::size_t>(shape.head_dim);
    key_row = kv_row_bytes(shape.type_k, dim);
    value_row = kv_row_bytes(shape.type_v, dim);
    values = key_row * kPageRows;
    positions = values + value_row * kPageRows;
    sums = positions + sizeof(Position) * kPageRows;
    const auto sets = static_cast<std::size_t>(shape.sets);
    masks = sums + (shape.with_column_sums ? sizeof(float) * sets * kPageRows : 0);
    row_mask = sets > 1 ? row_mask_bytes(sets) : 0;
    bytes = masks + row_mask * kPageRows;
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

// A shared page, and where its memory is: page objects lie all over the heap, and lists of pages
// are made in every step.
class PagePtr {
 public:
  PagePtr() = default;
  explicit PagePtr(std::shared_ptr<Page> page) : page_(std::move(page)), data_(page_->at(0)) {}

  [[nodiscard]] Page& operator*() const { return *page_; }
  [[nodiscard]] Page* operator->() const { return page_.get(); }
  [[nodiscard]] Page* get() const { return page_.get(); }
  [[nodiscard]] const std::byte* data() const { return data_; }  // at(0)
  [[nodiscard]] long use_count() const { return page_.use_count(); }

 private:
  std::shared_ptr<Page> page_;
  const std::byte* data_ = nullptr;
};

// The rows of one (layer, KV head): visible rows are [skip, skip + rows) counted from the first
// page.
struct HeadStore {
  std::vector<PagePtr> pages;
  std::size_t skip = 0;
  std::size_t rows = 0;
};

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
  [[nodiscard]] PagePtr new_page() const { return PagePtr(std::make_shared<Page>(pool)); }
  [[nodiscard]] Position position(const HeadStore& store, std::size_t row) const {
    const std::size_t at = store.skip + row;
    Position position = 0;
    std::memcpy(
        &position,
        store.pages[at / kPageRows]->at(layout.positions + at % kPageRows * sizeof(position)),
        sizeof(position));
    return position;
  }
  [[nodiscard]] float column_sum(const HeadStore& store, std::size_t row, std::size_t set) const {
    if (!shape.with_column_sums) return 0;
    const std::size_t at = store.skip + row;
    float sum = 0;
    std::memcpy(&sum, store.pages[at / kPageRows]->at(sum_offset(at % kPageRows, set)),
                sizeof(sum));
    return sum;
  }
  [[nodiscard]] bool holds(const HeadStore& store, std::size_t row, std::size_t set) const {
    if (shape.sets == 1) return true;
    const std::size_t at = store.skip + row;
    return sees_row(mask_of(*store.pages[at / kPageRows], at % kPageRows), set);
  }
  // Which of the visible rows a set holds.
  [[nodiscard]] std::vector<std::uint32_t> held(const HeadStore& store, std::size_t set) const;

  // Writes what goes with a row beside its key and value: no set holds it yet, and none has sums.
  void label(Page& page, std::size_t slot, Position position) const {
    std::memcpy(page.at(layout.positions + slot * sizeof(position)), &position, sizeof(position));
    std::memset(page.at(layout.masks + slot * layout.row_mask), 0, layout.row_mask);
    for (std::size_t set = 0; set < sets(); ++set) set_sum(page, slot, set, 0.0F);
  }
  void set_sum(Page& page, std::size_t slot, std::size_t set, float sum) const {
    if (!shape.with_column_sums) return;
    std::memcpy(page.at(sum_offset(slot, set)), &sum, sizeof(sum));
  }
  void set_held(Page& page, std::size_t slot, std::size_t set, bool is_held) const {
    if (shape.sets == 1) return;
    std::uint8_t& byte = mask_of(page, slot)[set / 8];
    const auto bit = static_cast<std::uint8_t>(1U << (set % 8));
    byte = static_cast<std::uint8_t>(is_held ? byte | bit : byte & ~bit);
  }
  void hold_in_all(Page& page, std::size_t slot) const {
    for (std::size_t set = 0; set < sets(); ++set) set_held(page, slot, set, true);
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
  // Adds the rows that any set keeps behind those of `target`, whose last page is its own if not
  // full.
  void add_rows(const KernelTable& kernels, std::span<const KeptRows> kept,
                HeadStore& target) const;
  // Copies rows from, from + 1, ... over rows to, to + 1, ... with all that goes with them.
  // REQUIRES: neither run crosses the border of a page; to < from.
  void move_rows(HeadStore& store, std::size_t from, std::size_t to, std::size_t count) const;
  // Leaves rows keep[0], keep[1], ... of the store. REQUIRES: its own pages from the first that
  // changes on.
  void compact(HeadStore& store, std::span<const std::uint32_t> keep) const;

  // Leaves the first rows, and the pages that they need.
  void cut(HeadStore& store, std::size_t rows) const {
    store.rows = rows;
    store.pages.resize(pages_for_rows(store.skip + rows));
  }

  [[nodiscard]] std::size_t sets() const { return static_cast<std::size_t>(shape.sets); }
  [[nodiscard]] std::uint8_t* mask_of(Page& page, std::size_t slot) const {
    return reinterpret_cast<std::uint8_t*>(page.at(layout.masks + slot * layout.row_mask));
  }
  [[nodiscard]] const std::uint8_t* mask_of(const Page& page, std::size_t slot) const {
    return reinterpret_cast<const std::uint8_t*>(page.at(layout.masks + slot * layout.row_mask));
  }
  [[nodiscard]] std::size_t sum_offset(std::size_t slot, std::size_t set) const {
    return layout.sums + (slot * sets() + set) * sizeof(float);
  }

  CacheShape shape;
  PageLayout layout;
  std::shared_ptr<PagePool> pool;  // forks share it
  std::vector<HeadStore> heads;
};

}  // namespace restkv
