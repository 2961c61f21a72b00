#include "kernels/tile_unit.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace restkv {
namespace {

#if defined(__x86_64__) && defined(__linux__)
// Linux gives the tiles' state only to a process that asks for it (Documentation/arch/x86/xstate).
TileUnit ask_for_tiles() {
  constexpr unsigned kBf16 = 1U << 22U;  // CPUID 7.0 EDX
  constexpr unsigned kTile = 1U << 24U;
  constexpr unsigned kInt8 = 1U << 25U;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTile) == 0) return {};
  constexpr long kRequestState = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestState, kTileData) != 0) return {};
  return {.int8 = (d & kInt8) != 0, .bf16 = (d & kBf16) != 0};
}
#else
TileUnit ask_for_tiles() { return {}; }
#endif

}  // namespace

TileUnit tile_unit() {
  static const TileUnit kUnit = ask_for_tiles();
  return kUnit;
}

}  // namespace restkv
