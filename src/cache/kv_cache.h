#pragma once

// The ragged, paged store of one sequence: for each (layer, KV head) an own list of pages of 16
// rows, each row with its original position, so per-head budgets free real memory. Pages are shared
// between forks until one of them writes. Knows no policy.
//
// A KV head holds one set of rows, or one for each query head of its group. Then a row is stored
// once, as long as some set holds it, and a bit for each set says which do. Sets are counted over
// the layer: set s belongs to KV head s / shape().sets.
//
// Threads may write to different (layer, KV head) pairs of one cache at a time, once their pages
// are its own (make_writable()); all else is for one thread.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/byte_counter.h"
#include "cache/layer_rows.h"
#include "kernels/kernels.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

inline constexpr std::size_t kPageRows = 16;

// Pages that `rows` rows need.
[[nodiscard]] constexpr std::size_t pages_for_rows(std::size_t rows) {
  return (rows + kPageRows - 1) / kPageRows;
}

// Rows that a head of a layer would hold had none ever been dropped: all tokens, or those that its
// sliding window (0: none) still sees.
[[nodiscard]] constexpr std::size_t full_rows(int sliding_window, std::size_t tokens) {
  return sliding_window > 0 ? std::min(tokens, static_cast<std::size_t>(sliding_window)) : tokens;
}

struct CacheShape {
  int n_layer = 0;
  int n_kv_head = 0;
  int head_dim = 0;
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  // Each row also carries one float for each set: the attention it has received (H2O), or what it
  // is worth to a replay (KVzip).
  bool with_column_sums = false;
  int sets = 1;  // of each KV head: 1, or the query heads of its group
  // [n_layer] rows that a layer may see: a sliding window, or 0 for all.
  std::vector<int> sliding_window;
};

// Rows that a set of a KV head keeps.
struct KeptRows {
  HeadRows rows;                        // where they are
  std::span<const std::uint32_t> keep;  // which of them, strictly increasing
  std::span<const float> sums;          // [rows] what each has received; empty: nothing
};

// Bytes of one page: keys, values, positions and, if asked for, column sums and bits of sets of 16
// rows.
[[nodiscard]] std::size_t page_bytes(const CacheShape& shape);
// Bytes that a full cache of `tokens` tokens holds, sliding windows respected.
[[nodiscard]] std::size_t full_cache_bytes(const CacheShape& shape, std::size_t tokens);

class KvCache {
 public:
  explicit KvCache(CacheShape shape, std::shared_ptr<ByteCounter> counter);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  // A cache with the same rows; pages are shared until one side changes them.
  [[nodiscard]] KvCache fork() const;

  [[nodiscard]] const CacheShape& shape() const;
  // Rows that head (layer, head) stores and may see.
  [[nodiscard]] std::size_t rows(int layer, int head) const;
  [[nodiscard]] std::vector<Position> positions(int layer, int head) const;
  // How many of its head's rows a set holds, which, and their positions. set: in [0, n_kv_head *
  // sets).
  [[nodiscard]] std::size_t held_count(int layer, int set) const;
  [[nodiscard]] std::vector<std::uint32_t> held_rows(int layer, int set) const;
  [[nodiscard]] std::vector<Position> held_positions(int layer, int set) const;
  // Every set holds all rows of its head, in all layers.
  [[nodiscard]] bool sets_agree() const;
  // Bytes of the pages that this cache refers to (shared ones count in full).
  [[nodiscard]] std::size_t bytes() const;
  // What stands behind this cache and its forks: bytes of their pages, each counted once, and of
  // the memory from the system that these were cut from.
  struct Memory {
    std::size_t pages = 0;
    std::size_t slabs = 0;
  };
  [[nodiscard]] Memory memory() const;
  // Bytes of the pages that this cache refers to and `base`, which it was forked from, does not.
  [[nodiscard]] std::size_t bytes_beyond(const KvCache& base) const;

  // Replaces the head's rows by those that any of its sets keeps, converted to the cache's types.
  // Rows of two sets at one position are the same row. REQUIRES: kept.size() == shape().sets.
  // kOutOfMemory leaves the head as it was.
  Result<void> store(const KernelTable& kernels, int layer, int head,
                     std::span<const KeptRows> kept);
  // The same where there is one set: rows keep[0], keep[1], ... of the source's head.
  Result<void> store(const KernelTable& kernels, int layer, int head, const LayerRows& source,
                     std::span<const std::uint32_t> keep);
  // Copies all rows of the layer to the end of `target`, with their positions and column sums:
  // those of each head, or, where `target` has a head for each set, those that the set holds.
  // REQUIRES: sets_agree(), or a head for each set.
  void load(const KernelTable& kernels, int layer, LayerRows& target) const;
  // Writes the layer's keys once more over those of the first rows of `target`, where load() put
  // them. REQUIRES: one set.
  void load_keys(const KernelTable& kernels, int layer, LayerRows& target) const;
  // Adds the last `count` rows, which are the same in all sets, behind what the head holds. The
  // rows before them are the set's own, whose sums are taken over; KeptRows::keep is not looked at.
  // kOutOfMemory leaves the head as it was. REQUIRES: a layer without a sliding window; as many
  // rows before as the set holds; positions larger than the head's last.
  Result<void> append_rows(const KernelTable& kernels, int layer, int head,
                           std::span<const KeptRows> sets, std::size_t count);
  // The same where there is one set: rows first, first + 1, ... of the source's head.
  Result<void> append_rows(const KernelTable& kernels, int layer, int head, const LayerRows& source,
                           std::size_t first);
  // Prepares every head for a row at `position`: lets go of rows that a query there cannot see
  // (sliding window) and makes room, so that the next append() to each head cannot fail.
  // kOutOfMemory leaves all rows that the query can see.
  Result<void> reserve_row(Position position);
  // Adds one row at the end, held by all sets.
  // REQUIRES: reserve_row(position) since the last append to this head.
  void append(const KernelTable& kernels, int layer, int head, Position position, const float* key,
              const float* value);
  // What each row that the set holds has received; zeros when the shape has no column sums.
  [[nodiscard]] std::vector<float> column_sums(int layer, int set) const;
  // The first row of the head that keep_rows() would change; rows(layer, head) or more: none.
  [[nodiscard]] std::size_t first_change(int layer, int head,
                                         std::span<const std::vector<std::uint32_t>> keep) const;
  // Makes the pages that hold row `first` and later ones this cache's own, so that keep_rows() and
  // add_to_sums() may write to them. kOutOfMemory leaves the rows as they were.
  Result<void> make_writable(int layer, int head, std::size_t first);
  // Each set of the head drops all of its rows but keep[set][0], keep[set][1], ..., counted among
  // the rows that it holds. What no set holds goes, in place: what stays keeps its bits, and pages
  // that are empty afterwards are freed.
  // Allocates nothing. REQUIRES: keep[set] strictly increasing; make_writable() from first_change()
  // on, and no fork since.
  void keep_rows(int layer, int head, std::span<const std::vector<std::uint32_t>> keep);
  // Adds received[i] to the column sum of row i of those that the set holds. Allocates nothing.
  // REQUIRES: as many as it holds; make_writable() from row 0 on, and no fork since.
  void add_to_sums(int layer, int set, std::span<const float> received);
  // Takes back rows at `position` and later, in every head: undoes a step that failed half way.
  void drop_from(Position position);

  // Pages of a head as decode attention reads them; the first `skip_rows` rows of the first page
  // have left the sliding window. Valid until the head changes.
  struct HeadPages {
    std::vector<PageView> pages;
    std::size_t skip_rows = 0;
  };
  void pages(int layer, int head, HeadPages& out) const;
  // Adds pages [first, end) of those, as far as there are any, behind what `out` holds: a choice of
  // few costs nothing for the others. Leaves skip_rows as it is.
  void append_pages(int layer, int head, std::size_t first, std::size_t end, HeadPages& out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  explicit KvCache(std::unique_ptr<State> state);
};

}  // namespace restkv
