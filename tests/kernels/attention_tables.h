#pragma once

// The tables that the tests of prefill's attention loop over: those of this machine, and that of
// the tile unit, by the test's own unit, where the machine has all the rest that it needs.

#include <optional>
#include <string>

#include "kernels/hwy/tables.h"
#include "kernels/measure.h"
#include "kernels/tile_unit.h"
#include "support/tile_emulator.h"

namespace restkv::kernel_test {

// The table whose attention of prefill splits weights and values into two bf16 each. One of 17 bits
// may lose 2^-17, and where a token sees a single row that is the whole error.
inline bool in_tiles(const KernelTable& table) { return table.name == "avx3_amx"; }
inline constexpr double kTilesBudget = 8e-6;  // relative L2

// Relative L2 of prefill's attention. Plain logits: the error of a product of up to 512 elements.
// Capped ones: besides, that of the cap's tanh, which grows with the cap.
inline double attention_budget(const KernelTable& table, const AttentionRule& rule) {
  if (in_tiles(table)) return kTilesBudget;
  return rule.softcap > 0 ? 2e-6 : 1.5e-6;
}

// The largest error of all tables but that of the tile unit, and of this.
struct WorstOfTables {
  explicit WorstOfTables(const std::string& what)
      : vectors((what + ", relative L2").c_str()),
        tiles((what + " by tiles, relative L2").c_str()) {}
  double operator()(const KernelTable& table, double value) {
    return in_tiles(table) ? tiles(value) : vectors(value);
  }
  Worst vectors;
  Worst tiles;
};

// That table, with the test's unit where the processor has none. Null where AVX-512 VNNI is
// missing.
class TileTable {
 public:
  TileTable() {
    if (table_by_name("avx3_vnni").ok()) table_ = compiled_table("avx3_amx");
    if (table_ && !is_native()) emulator_.emplace();
  }
  [[nodiscard]] const KernelTable* get() const { return table_ ? &*table_ : nullptr; }
  // Whether the processor has the unit, so that the table is one of all_tables().
  static bool is_native() { return tile_unit().int8 && tile_unit().bf16; }

 private:
  std::optional<KernelTable> table_;
  std::optional<TileEmulator> emulator_;
};

// body(table), with the table's name in every failure message.
template <class Body>
void for_each_attention_table(Body&& body) {
  for_each_table(body);
  if (TileTable::is_native()) return;
  const TileTable tiles;
  if (tiles.get() == nullptr) return;
  SCOPED_TRACE("kernels " + std::string(tiles.get()->name));
  body(*tiles.get());
}

}  // namespace restkv::kernel_test
