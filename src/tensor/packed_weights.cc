// Reads ggml's blocks and writes panels. The blocks' layouts (ggml-common.h of llama.cpp), d and
// dmin being f16:
//   q4_0  d, 16 bytes: elements i and i + 16 in the nibbles of byte i
//   q5_0  d, u32 with bit i the fifth bit of element i, 16 bytes as q4_0
//   q8_0  d, 32 signed bytes
//   q4_K  d, dmin, 12 bytes of 6-bit scales and mins, 128 bytes: each 32 hold 64 elements in
//   nibbles q5_K  the same with 32 bytes of fifth bits between: bit k of byte i for element 32 k +
//   i q6_K  128 bytes of low nibbles, 64 bytes of high pairs, 16 signed scales, d

#include "tensor/packed_weights.h"

#include <ggml.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace restkv {
namespace {

using Byte = std::uint8_t;

constexpr std::size_t kHalfBytes = 2;  // of an f16
constexpr std::size_t kBlocksPerSuper = kPackedSuperBlock / kPackedBlock;

// A block of one row, as numbers.
struct RowBlock32 {
  std::array<Byte, kPackedBlock> quants{};
  std::array<Byte, kHalfBytes> d{};  // types without superblocks
  std::array<Byte, 2> inner{};       // K types: scale and min, or the two scales
};

Byte byte_at(const std::byte* p) { return std::to_integer<Byte>(*p); }

void read_nibbles(const std::byte* p, RowBlock32& block) {
  for (std::size_t i = 0; i < 16; ++i) {
    block.quants[i] = byte_at(p + i) & 0x0F;
    block.quants[i + 16] = byte_at(p + i) >> 4;
  }
}

void read_q4_0(const std::byte* p, RowBlock32& block) {
  std::memcpy(block.d.data(), p, kHalfBytes);
  read_nibbles(p + kHalfBytes, block);
}

void read_q5_0(const std::byte* p, RowBlock32& block) {
  std::memcpy(block.d.data(), p, kHalfBytes);
  std::uint32_t high = 0;
  std::memcpy(&high, p + kHalfBytes, sizeof(high));
  read_nibbles(p + kHalfBytes + sizeof(high), block);
  for (std::size_t i = 0; i < kPackedBlock; ++i) {
    block.quants[i] = static_cast<Byte>(block.quants[i] | (high >> i & 1U) << 4);
  }
}

void read_q8_0(const std::byte* p, RowBlock32& block) {
  std::memcpy(block.d.data(), p, kHalfBytes);
  for (std::size_t i = 0; i < kPackedBlock; ++i) {
    block.quants[i] = byte_at(p + kHalfBytes + i) ^ 0x80U;  // + 128
  }
}

// 6-bit scale and min of block b: the first four lie in the low bits of bytes 0-3 and 4-7, the
// others in the nibbles of bytes 8-11 with their two high bits on top of the first.
void read_scale_and_min(const std::byte* p, std::size_t b, RowBlock32& block) {
  if (b < 4) {
    block.inner = {static_cast<Byte>(byte_at(p + b) & 63),
                   static_cast<Byte>(byte_at(p + b + 4) & 63)};
    return;
  }
  const unsigned both = byte_at(p + b + 4);
  block.inner = {static_cast<Byte>((both & 0x0FU) | (byte_at(p + b - 4) >> 6) << 4),
                 static_cast<Byte>(both >> 4 | (byte_at(p + b) >> 6) << 4)};
}

void read_nibbles_of_64(const std::byte* p, std::size_t b, RowBlock32& block) {
  const int shift = b % 2 == 0 ? 0 : 4;
  for (std::size_t i = 0; i < kPackedBlock; ++i) {
    block.quants[i] = byte_at(p + b / 2 * 32 + i) >> shift & 0x0F;
  }
}

constexpr std::size_t kScalesAt = 2 * kHalfBytes;
constexpr std::size_t kAfterScales = kScalesAt + 12;

void read_q4_k(const std::byte* p, std::size_t b, RowBlock32& block) {
  read_scale_and_min(p + kScalesAt, b, block);
  read_nibbles_of_64(p + kAfterScales, b, block);
}

void read_q5_k(const std::byte* p, std::size_t b, RowBlock32& block) {
  read_scale_and_min(p + kScalesAt, b, block);
  read_nibbles_of_64(p + kAfterScales + 32, b, block);
  for (std::size_t i = 0; i < kPackedBlock; ++i) {
    const unsigned bit = byte_at(p + kAfterScales + i) >> b & 1U;
    block.quants[i] = static_cast<Byte>(block.quants[i] | bit << 4);
  }
}

// Each half of 128 elements: 64 bytes of nibbles (32 elements each: low, low, high, high) and 32
// bytes of pairs, element group k at bits 2 k.
void read_q6_k(const std::byte* p, std::size_t b, RowBlock32& block) {
  const std::size_t half = b / 4;
  const std::size_t k = b % 4;
  const std::byte* low = p + 64 * half + 32 * (k % 2);
  const std::byte* high = p + 128 + 32 * half;
  for (std::size_t i = 0; i < kPackedBlock; ++i) {
    const unsigned nibble = byte_at(low + i) >> (k < 2 ? 0 : 4) & 0x0FU;
    const unsigned pair = byte_at(high + i) >> 2 * k & 3U;
    block.quants[i] = static_cast<Byte>(nibble | pair << 4);
  }
  block.inner = {byte_at(p + 192 + 2 * b), byte_at(p + 192 + 2 * b + 1)};
}

constexpr std::size_t kQ6ScaleAt = 192 + 16;

// Block b of a row of weights.
void read_block(PackedKind kind, const std::byte* row, std::size_t type_bytes, std::size_t b,
                RowBlock32& block) {
  const std::byte* super_block = row + b / kBlocksPerSuper * type_bytes;
  const std::size_t inside = b % kBlocksPerSuper;
  switch (kind) {
    case PackedKind::kQ4_0: return read_q4_0(row + b * type_bytes, block);
    case PackedKind::kQ5_0: return read_q5_0(row + b * type_bytes, block);
    case PackedKind::kQ8_0: return read_q8_0(row + b * type_bytes, block);
    case PackedKind::kQ4K: return read_q4_k(super_block, inside, block);
    case PackedKind::kQ5K: return read_q5_k(super_block, inside, block);
    case PackedKind::kQ6K: return read_q6_k(super_block, inside, block);
  }
}

using Panel32 = std::array<RowBlock32, kPanelRows>;
using Vectors = std::array<std::array<Byte, 32>, 8>;  // V_0..V_7 of packed.h

Vectors interleave(const Panel32& rows) {
  Vectors vectors;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      std::memcpy(vectors[i].data() + 4 * r, rows[r].quants.data() + 4 * i, 4);
    }
  }
  return vectors;
}

// Bits [shift, shift + width) of V_first, V_first + 1, ..., side by side in each byte.
void write_bits(const Vectors& vectors, unsigned shift, unsigned width, std::size_t first,
                std::size_t step, Byte* out) {
  for (std::size_t at = 0; at < 32; ++at) {
    unsigned bits = 0;
    const std::size_t count = 8 / width;
    for (std::size_t k = 0; k < count; ++k) {
      const unsigned quant = vectors[first + k * step][at];
      bits |= (quant >> shift & ((1U << width) - 1)) << width * k;
    }
    out[at] = static_cast<Byte>(bits);
  }
}

// Returns the end of what was written.
Byte* write_quants(PackedKind kind, const Vectors& vectors, Byte* out) {
  if (kind == PackedKind::kQ8_0) {
    std::memcpy(out, vectors.data(), sizeof(vectors));
    return out + sizeof(vectors);
  }
  for (std::size_t i = 0; i < 4; ++i, out += 32) write_bits(vectors, 0, 4, i, 4, out);
  if (kind == PackedKind::kQ5_0 || kind == PackedKind::kQ5K) {
    write_bits(vectors, 4, 1, 0, 1, out);
    out += 32;
  } else if (kind == PackedKind::kQ6K) {
    for (std::size_t k = 0; k < 2; ++k, out += 32) write_bits(vectors, 4, 2, 4 * k, 1, out);
  }
  return out;
}

Byte* write_scales(PackedKind kind, const Panel32& rows, Byte* out) {
  const bool has_inner = packed_layout(kind).outer_bytes != 0;
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    if (has_inner) {
      out[r] = rows[r].inner[0];
      out[kPanelRows + r] = rows[r].inner[1];
    } else {
      std::memcpy(out + kHalfBytes * r, rows[r].d.data(), kHalfBytes);
    }
  }
  return out + kHalfBytes * kPanelRows;
}

class Packer {
 public:
  explicit Packer(const WeightRows& rows)
      : rows_(rows),
        kind_(*packed_kind(rows.type)),
        type_bytes_(ggml_type_size(static_cast<ggml_type>(rows.type))),
        row_bytes_(ggml_row_size(static_cast<ggml_type>(rows.type),
                                 static_cast<std::int64_t>(rows.n_in))) {}

  void write_panel(std::size_t panel, Byte* out) const {
    const std::size_t count = std::min(kPanelRows, rows_.n_out - panel * kPanelRows);
    const std::byte* first = rows_.data + panel * kPanelRows * row_bytes_;
    Panel32 blocks;
    for (std::size_t b = 0; b < rows_.n_in / kPackedBlock; ++b) {
      if (b % kBlocksPerSuper == 0) out = write_outer(first, count, b / kBlocksPerSuper, out);
      for (std::size_t r = 0; r < count; ++r) {
        read_block(kind_, first + r * row_bytes_, type_bytes_, b, blocks[r]);
      }
      out = write_quants(kind_, interleave(blocks), out);
      out = write_scales(kind_, blocks, out);
    }
  }

 private:
  // f16 d[8], and dmin[8] where there are mins.
  Byte* write_outer(const std::byte* first, std::size_t count, std::size_t super_block,
                    Byte* out) const {
    const std::size_t bytes = packed_layout(kind_).outer_bytes;
    std::memset(out, 0, bytes);
    const std::size_t at = kind_ == PackedKind::kQ6K ? kQ6ScaleAt : 0;
    for (std::size_t part = 0; part < bytes / (kHalfBytes * kPanelRows); ++part) {
      for (std::size_t r = 0; r < count; ++r) {
        std::memcpy(out + kHalfBytes * (kPanelRows * part + r),
                    first + r * row_bytes_ + super_block * type_bytes_ + at + kHalfBytes * part,
                    kHalfBytes);
      }
    }
    return out + bytes;
  }

  const WeightRows& rows_;
  PackedKind kind_;
  std::size_t type_bytes_;
  std::size_t row_bytes_;
};

std::size_t n_panel(const WeightRows& rows) { return (rows.n_out + kPanelRows - 1) / kPanelRows; }

}  // namespace

std::optional<PackedKind> packed_kind(int ggml_type) {
  switch (ggml_type) {
    case GGML_TYPE_Q4_0: return PackedKind::kQ4_0;
    case GGML_TYPE_Q5_0: return PackedKind::kQ5_0;
    case GGML_TYPE_Q8_0: return PackedKind::kQ8_0;
    case GGML_TYPE_Q4_K: return PackedKind::kQ4K;
    case GGML_TYPE_Q5_K: return PackedKind::kQ5K;
    case GGML_TYPE_Q6_K: return PackedKind::kQ6K;
    default: return std::nullopt;
  }
}

std::size_t packed_bytes(const WeightRows& rows) {
  const auto kind = packed_kind(rows.type);
  RESTKV_CHECK(kind.has_value());
  return packed_layout(*kind).panel_bytes(rows.n_in) * n_panel(rows);
}

void pack_weights(const Threads& threads, const WeightRows& rows, std::byte* out) {
  const std::size_t panel_bytes = packed_bytes(rows) / n_panel(rows);
  const Packer packer(rows);
  threads.for_each(n_panel(rows), [&](std::size_t panel) {
    packer.write_panel(panel, reinterpret_cast<Byte*>(out + panel * panel_bytes));
  });
}

}  // namespace restkv
