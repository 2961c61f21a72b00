#include "engine/renumber.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace restkv {

std::vector<Position> shifts_of(std::span<const Position> held, Position last) {
  std::vector<Position> shifts(held.size());
  for (std::size_t i = 0; i < held.size(); ++i) {
    shifts[i] = last - static_cast<Position>(held.size() - 1 - i) - held[i];
  }
  return shifts;
}

KeyTurner::KeyTurner(const KernelTable& kernels, const Model& model, int layer)
    : kernels_(kernels),
      config_(model.config()),
      frequencies_(model.rope_frequencies(layer).frequencies),
      angles_(2 * frequencies_.size()) {}

void KeyTurner::turn(float* key, Position by) {
  if (by == 0) return;
  if (by != by_) {
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = frequencies_[i] * by;
      angles_[2 * i] = static_cast<float>(std::cos(angle));
      angles_[2 * i + 1] = static_cast<float>(std::sin(angle));
    }
    by_ = by;
  }
  const bool adjacent = config_.rope_style == RopeStyle::kAdjacent;
  const auto rope = adjacent ? kernels_.rope_adjacent : kernels_.rope_halves;
  rope(key, angles_.data(), static_cast<std::size_t>(config_.n_rot));
}

void renumber(const KernelTable& kernels, const Model& model, int layer, Position next,
              LayerRows& rows) {
  KeyTurner turner(kernels, model, layer);
  std::array<float, kMaxHeadDim> key;
  const auto dim = static_cast<std::size_t>(rows.shape().head_dim);
  for (int h = 0; h < rows.shape().n_kv_head; ++h) {
    const HeadRows head = rows.view(h);
    const std::vector<Position> shifts = shifts_of(head.positions, next - 1);
    for (std::size_t i = 0; i < shifts.size(); ++i) {
      if (shifts[i] == 0) continue;
      kernels.decode_row(head.type, head.keys + i * kv_row_bytes(head.type, dim), key.data(), dim);
      turner.turn(key.data(), shifts[i]);
      rows.set_key(kernels, h, i, key.data());
    }
  }
}

void RenumberedPages::prepare(const KernelTable& kernels, const Model& model, const KvCache& cache,
                              int layer, int head) {
  const std::vector<Position> held = cache.positions(layer, head);
  shifts_ = held.empty() ? std::vector<Position>() : shifts_of(held, held.back());
  // Shifts fall from row to row.
  shifts_.erase(std::ranges::find(shifts_, 0), shifts_.end());
  const std::size_t row_bytes =
      kv_row_bytes(cache.shape().type_k, static_cast<std::size_t>(cache.shape().head_dim));
  keys_.reserve(pages_for_rows(shifts_.size()) * kPageRows * row_bytes);
  turner_.emplace(kernels, model, layer);
}

void RenumberedPages::turn(const KernelTable& kernels, const CacheShape& shape,
                           KvCache::HeadPages& pages) {
  RESTKV_DCHECK(pages.skip_rows == 0);
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t row_bytes = kv_row_bytes(shape.type_k, dim);
  std::array<float, kMaxHeadDim> key;
  for (std::size_t first = 0; first < shifts_.size(); first += kPageRows) {
    std::byte* const out = keys_.data() + first * row_bytes;
    PageView& page = pages.pages[first / kPageRows];
    std::memcpy(out, page.keys, page.rows * row_bytes);
    const std::size_t moving = std::min(kPageRows, shifts_.size() - first);
    for (std::size_t i = 0; i < moving; ++i) {
      kernels.decode_row(shape.type_k, out + i * row_bytes, key.data(), dim);
      turner_->turn(key.data(), shifts_[first + i]);
      kernels.encode_row(shape.type_k, key.data(), out + i * row_bytes, dim);
    }
    page.keys = out;
  }
}

}  // namespace restkv
