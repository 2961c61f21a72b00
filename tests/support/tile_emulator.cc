// Instructions are decoded as the Intel 64 manual has them (volume 2, LDTILECFG to TILEZERO and
// TDP*): a three-byte VEX prefix of the map 0F38, an opcode, ModRM and, where memory is meant, SIB
// and displacement.

#include "support/tile_emulator.h"

#if defined(__x86_64__) && defined(__linux__)
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace restkv {
namespace {

constexpr std::size_t kTiles = 8;
constexpr std::size_t kMostRows = 16;
constexpr std::size_t kRowBytes = 64;

struct Tile {
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  std::array<std::array<std::byte, kRowBytes>, kMostRows> data{};

  template <class T>
  [[nodiscard]] T get(std::size_t row, std::size_t i) const {
    T value;
    std::memcpy(&value, data[row].data() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <class T>
  void set(std::size_t row, std::size_t i, T value) {
    std::memcpy(data[row].data() + i * sizeof(T), &value, sizeof(T));
  }
};

struct Unit {
  bool configured = false;
  std::array<Tile, kTiles> tiles{};
};
thread_local Unit unit;

// ---- what an instruction says ------------------------------------------------------------------

enum class Prefix : unsigned { kNone, k66, kF3, kF2 };

struct Instruction {
  Prefix prefix = Prefix::kNone;
  std::uint8_t opcode = 0;
  unsigned reg = 0;    // ModRM.reg
  unsigned third = 0;  // VEX.vvvv
  bool memory = false;
  unsigned rm = 0;  // ModRM.rm of a register
  std::byte* address = nullptr;
  std::ptrdiff_t stride = 0;  // the index register, scaled
  std::size_t bytes = 0;
};

greg_t general_register(const ucontext_t& context, unsigned number) {
  constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kOrder[number]];
}

// No memory relative to the instruction: neither compiler asks for that with the operands in use.
std::optional<Instruction> decode(const ucontext_t& context) {
  const auto* const code = std::bit_cast<const std::uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
  const bool map_0f38 = code[0] == 0xC4 && (code[1] & 0x1FU) == 2;
  const bool bits_128 = (code[2] & 0x84U) == 0;  // neither W nor L
  if (!map_0f38 || !bits_128) return std::nullopt;
  Instruction result;
  result.prefix = static_cast<Prefix>(code[2] & 3U);
  result.third = ~(code[2] >> 3U) & 15U;
  result.opcode = code[3];
  const std::uint8_t modrm = code[4];
  const unsigned high_index = (code[1] & 0x40U) != 0 ? 0 : 8;
  const unsigned high_base = (code[1] & 0x20U) != 0 ? 0 : 8;
  const unsigned mode = modrm >> 6U;
  result.reg = (modrm >> 3U) & 7U;
  result.rm = modrm & 7U;
  result.memory = mode != 3;
  result.bytes = 5;
  if (!result.memory) return result;
  unsigned base = result.rm;
  if (base == 4) {
    const std::uint8_t sib = code[result.bytes++];
    base = sib & 7U;
    const unsigned index = ((sib >> 3U) & 7U) + high_index;
    if (index != 4) result.stride = general_register(context, index) << (sib >> 6U);
  }
  if (mode == 0 && base == 5) return std::nullopt;
  std::ptrdiff_t displacement = 0;
  if (mode == 1) {
    displacement = code[result.bytes++];
    if (displacement >= 128) displacement -= 256;
  } else if (mode == 2) {
    std::int32_t wide = 0;
    std::memcpy(&wide, code + result.bytes, sizeof(wide));
    displacement = wide;
    result.bytes += sizeof(wide);
  }
  result.address =
      std::bit_cast<std::byte*>(general_register(context, base + high_base) + displacement);
  return result;
}

// ---- what it does ------------------------------------------------------------------------------

bool configure(const std::byte* shapes) {
  if (shapes[0] != std::byte{1}) return false;
  unit = {};
  unit.configured = true;
  for (std::size_t t = 0; t < kTiles; ++t) {
    std::uint16_t row_bytes = 0;
    std::memcpy(&row_bytes, shapes + 16 + 2 * t, sizeof(row_bytes));
    unit.tiles[t].row_bytes = row_bytes;
    unit.tiles[t].rows = static_cast<std::size_t>(shapes[48 + t]);
    if (row_bytes > kRowBytes || unit.tiles[t].rows > kMostRows) return false;
  }
  return true;
}

void load(Tile& tile, const std::byte* from, std::ptrdiff_t stride) {
  tile.data = {};
  for (std::size_t r = 0; r < tile.rows; ++r) {
    std::memcpy(tile.data[r].data(), from + static_cast<std::ptrdiff_t>(r) * stride,
                tile.row_bytes);
  }
}

void store(const Tile& tile, std::byte* to, std::ptrdiff_t stride) {
  for (std::size_t r = 0; r < tile.rows; ++r) {
    std::memcpy(to + static_cast<std::ptrdiff_t>(r) * stride, tile.data[r].data(), tile.row_bytes);
  }
}

// Shapes that do not fit together trap on a processor that has the unit.
bool fit(const Tile& sums, const Tile& a, const Tile& b) {
  return sums.rows == a.rows && sums.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows &&
         sums.rows != 0 && b.rows != 0;
}

void add_unsigned_times_signed(Tile& sums, const Tile& a, const Tile& b) {
  for (std::size_t i = 0; i < sums.rows; ++i) {
    for (std::size_t j = 0; j < sums.row_bytes / 4; ++j) {
      auto sum = sums.get<std::int32_t>(i, j);
      for (std::size_t k = 0; k < a.row_bytes; ++k) {
        sum += a.get<std::uint8_t>(i, k) * b.get<std::int8_t>(k / 4, 4 * j + k % 4);
      }
      sums.set(i, j, sum);
    }
  }
}

// What is below the smallest normal number counts as 0, before a product or sum and after it.
float flushed(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }

// A tile of bf16 as f32.
struct Widened {
  explicit Widened(const Tile& tile) {
    for (std::size_t r = 0; r < tile.rows; ++r) {
      for (std::size_t i = 0; i < tile.row_bytes / 2; ++i) {
        const std::uint32_t bits = tile.get<std::uint16_t>(r, i);
        const float value = flushed(std::bit_cast<float>(bits << 16U));
        rows[r][i] = value;
        if (value != 0) smallest = std::min(smallest, std::fabs(value));
      }
    }
  }
  std::array<std::array<float, kRowBytes / 2>, kMostRows> rows{};
  float smallest = 1.0F;  // but for zeros, and of those below 1
};

// The manual's order: one sum of the products of even columns, one of odd ones, both from 0 on,
// each product added with a single rounding; then these two are added, and the result to the sums
// that were there. Products of bf16 are exact in f32, and where none is next to the smallest normal
// number no sum is below it, so plain loops do; else each product is looked at.
void add_bf16(Tile& sums, const Tile& a, const Tile& b) {
  const Widened left(a);
  const Widened right(b);
  const bool plain = left.smallest * right.smallest >= 0x1p-110F;
  for (std::size_t i = 0; i < sums.rows; ++i) {
    std::array<float, kRowBytes / 2> two{};  // of each of the result's columns
    for (std::size_t k = 0; k < b.rows; ++k) {
      const float even = left.rows[i][2 * k];
      const float odd = left.rows[i][2 * k + 1];
      if (plain) {
        for (std::size_t j = 0; j < two.size(); j += 2) {
          two[j] += even * right.rows[k][j];
          two[j + 1] += odd * right.rows[k][j + 1];
        }
      } else {
        for (std::size_t j = 0; j < two.size(); j += 2) {
          two[j] = flushed(std::fma(even, right.rows[k][j], two[j]));
          two[j + 1] = flushed(std::fma(odd, right.rows[k][j + 1], two[j + 1]));
        }
      }
    }
    for (std::size_t j = 0; j < sums.row_bytes / 4; ++j) {
      const float both = flushed(two[2 * j] + two[2 * j + 1]);
      sums.set(i, j, flushed(flushed(sums.get<float>(i, j)) + both));
    }
  }
}

bool multiply(const Instruction& it, void (*add)(Tile&, const Tile&, const Tile&)) {
  if (it.memory || it.third >= kTiles) return false;
  Tile& sums = unit.tiles[it.reg];
  const Tile& a = unit.tiles[it.rm];
  const Tile& b = unit.tiles[it.third];
  if (&sums == &a || &sums == &b || &a == &b || !fit(sums, a, b)) return false;
  add(sums, a, b);
  return true;
}

// False: not an instruction of the unit, or one that traps there too.
bool carry_out(const Instruction& it) {
  const auto is = [&it](std::uint8_t opcode, Prefix prefix) {
    return it.opcode == opcode && it.prefix == prefix;
  };
  if (is(0x49, Prefix::kNone) && it.reg == 0) {
    if (it.memory) return configure(it.address);
    unit = {};  // tilerelease
    return true;
  }
  if (!unit.configured) return false;
  Tile& tile = unit.tiles[it.reg];
  if (is(0x49, Prefix::kF2) && !it.memory) {
    tile.data = {};
  } else if (it.opcode == 0x4B && it.memory && it.prefix == Prefix::kF2) {
    load(tile, it.address, it.stride);
  } else if (it.opcode == 0x4B && it.memory && it.prefix == Prefix::kF3) {
    store(tile, it.address, it.stride);
  } else if (is(0x5E, Prefix::k66)) {
    return multiply(it, add_unsigned_times_signed);
  } else if (is(0x5C, Prefix::kF3)) {
    return multiply(it, add_bf16);
  } else {
    return false;
  }
  return true;
}

void on_illegal_instruction(int signal, siginfo_t* /*info*/, void* at) {
  auto& context = *static_cast<ucontext_t*>(at);
  const auto instruction = decode(context);
  if (!instruction || !carry_out(*instruction)) {
    std::signal(signal, SIG_DFL);  // back to it, and the end
    return;
  }
  context.uc_mcontext.gregs[REG_RIP] += static_cast<greg_t>(instruction->bytes);
}

}  // namespace

TileEmulator::TileEmulator() {
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, &before_);
}

TileEmulator::~TileEmulator() { sigaction(SIGILL, &before_, nullptr); }

}  // namespace restkv

#else

namespace restkv {

TileEmulator::TileEmulator() = default;
TileEmulator::~TileEmulator() = default;

}  // namespace restkv

#endif
