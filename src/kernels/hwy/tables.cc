// Compiles the -inl.h files of this folder once for each instruction set and lists the tables.
//
// Highway marks the functions of each pass with the instruction set that they need, while this file
// itself has the flags of all others; so nothing that the linker may share between files is
// compiled for more than the plainest machine.

#include "kernels/hwy/tables.h"

#include <algorithm>
#include <vector>

#include "kernels/tile_unit.h"

// Not built: what is older than SSE4, and vectors whose size is known only at run time.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hwy/tables.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// The last pass is for a machine without vectors, which has the table "ref".
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#include "kernels/hwy/boxes-inl.h"
#include "kernels/hwy/column_sums-inl.h"
#include "kernels/hwy/decode-inl.h"
#include "kernels/hwy/packed-inl.h"
#include "kernels/hwy/prefill-inl.h"
#include "kernels/hwy/prefill_tiles-inl.h"
#include "kernels/hwy/rows-inl.h"
#include "kernels/hwy/scoring-inl.h"
#include "kernels/hwy/sparse-inl.h"
#include "kernels/hwy/types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {

KernelTable make_table() {
  return {.name = {},
          .description = {},
          .dot = dot,
          .axpy = axpy,
          .rms_norm = rms_norm,
          .silu_mul = silu_mul,
          .gelu_mul = gelu_mul,
          .add = add,
          .rope_adjacent = rope_adjacent,
          .rope_halves = rope_halves,
          .encode_row = encode_row,
          .decode_row = decode_row,
          .prefill_attention = prefill_attention,
          .sparse_attention = sparse_attention,
          .decode_attention = decode_attention,
          .window_attention = window_attention,
          .column_sums = column_sums,
          .round_activations = round_activations,
          .multiply_packed = multiply_packed,
          .output_distances = output_distances,
          .weighted_sum = weighted_sum,
          .projected_sizes = projected_sizes,
          .score_boxes = score_boxes};
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
KernelTable make_vnni_table() {
  KernelTable table = make_table();
  table.multiply_packed = multiply_in<InFours>;
  return table;
}
#endif
#if HWY_TARGET == HWY_AVX3
KernelTable make_tile_table() {
  KernelTable table = make_table();
  table.multiply_packed = multiply_in<InTiles>;
  table.prefill_attention = prefill_attention_in<ByTileUnit>;
  table.sparse_attention = sparse_attention_in<ByTileUnit>;
  return table;
}
#endif

}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace restkv {
namespace {

struct Target {
  std::int64_t bit;
  std::string_view name;
  std::string_view description;
  KernelTable (*make)();     // null when it was not compiled
  bool (*also)() = nullptr;  // asks for what the bit does not tell
};

#if HWY_ARCH_X86
bool has_avx_vnni() { return __builtin_cpu_supports("avxvnni") != 0; }
bool has_avx512_vnni() { return __builtin_cpu_supports("avx512vnni") != 0; }
bool has_tiles() { return has_avx512_vnni() && tile_unit().int8 && tile_unit().bf16; }
#else
bool has_avx_vnni() { return false; }
bool has_avx512_vnni() { return false; }
bool has_tiles() { return false; }
#endif

// Slowest first.
constexpr Target kTargets[] = {
    {HWY_NEON, "neon", "Arm: 128-bit vectors", HWY_CHOOSE_NEON(make_table)},
    {HWY_SSE4, "sse4", "x86: 128-bit vectors", HWY_CHOOSE_SSE4(make_table)},
    {HWY_AVX2, "avx2", "x86: 256-bit vectors, FMA and F16C", HWY_CHOOSE_AVX2(make_table)},
    {HWY_AVX2, "avx2_vnni", "x86: the same and AVX-VNNI", HWY_CHOOSE_AVX2(make_vnni_table),
     has_avx_vnni},
    {HWY_AVX3, "avx3", "x86: 512-bit vectors (AVX-512 F, BW, CD, DQ, VL)",
     HWY_CHOOSE_AVX3(make_table)},
    {HWY_AVX3, "avx3_vnni", "x86: the same and AVX-512 VNNI", HWY_CHOOSE_AVX3(make_vnni_table),
     has_avx512_vnni},
    {HWY_AVX3, "avx3_amx", "x86: the same, AMX-INT8 and AMX-BF16", HWY_CHOOSE_AVX3(make_tile_table),
     has_tiles},
};

KernelTable make(const Target& target) {
  KernelTable table = target.make();
  table.name = target.name;
  table.description = target.description;
  return table;
}

std::vector<KernelTable> supported_tables() {
  std::vector<KernelTable> tables;
  for (const Target& target : kTargets) {
    if (target.make == nullptr || (hwy::SupportedTargets() & target.bit) == 0) continue;
    if (target.also == nullptr || target.also()) tables.push_back(make(target));
  }
  return tables;
}

}  // namespace

std::span<const KernelTable> highway_tables() {
  static const std::vector<KernelTable> kTables = supported_tables();
  return kTables;
}

std::optional<KernelTable> compiled_table(std::string_view name) {
  const auto* const found = std::ranges::find(kTargets, name, &Target::name);
  if (found == std::end(kTargets) || found->make == nullptr) return std::nullopt;
  return make(*found);
}

}  // namespace restkv
#endif  // HWY_ONCE
