#include "engine/hidden_states.h"

#include "base/check.h"

namespace restkv {

HiddenStates::HiddenStates(KvType type, const KernelTable& kernels, const Threads& threads)
    : kernels_(kernels), threads_(threads), type_(type) {
  RESTKV_CHECK(type == KvType::kF32 || type == KvType::kBf16);
}

void HiddenStates::reserve(std::size_t n, std::size_t n_embd, std::size_t most) {
  n_embd_ = n_embd;
  if (type_ == KvType::kF32) {
    floats_.reserve(n * n_embd);
    return;
  }
  floats_.reserve(most * n_embd);
  halves_.reserve(n * kv_row_bytes(type_, n_embd));
}

void HiddenStates::release() {
  floats_ = {};
  halves_ = {};
}

View2<float> HiddenStates::take_blank(std::size_t first, std::size_t count) {
  const std::size_t offset = type_ == KvType::kF32 ? first * n_embd_ : 0;
  RESTKV_DCHECK(offset + count * n_embd_ <= floats_.size());
  return {floats_.data() + offset, count, n_embd_};
}

View2<float> HiddenStates::take(std::size_t first, std::size_t count) {
  const View2<float> taken = take_blank(first, count);
  if (type_ == KvType::kF32) return taken;
  const std::size_t row_bytes = kv_row_bytes(type_, n_embd_);
  threads_.for_each(count, [&](std::size_t i) {
    kernels_.decode_row(type_, halves_.data() + (first + i) * row_bytes, taken.row(i).data(),
                        n_embd_);
  });
  return taken;
}

void HiddenStates::put(std::size_t first, View2<const float> changed) {
  if (type_ == KvType::kF32) return;
  const std::size_t row_bytes = kv_row_bytes(type_, n_embd_);
  threads_.for_each(changed.rows, [&](std::size_t i) {
    kernels_.encode_row(type_, changed.row(i).data(), halves_.data() + (first + i) * row_bytes,
                        n_embd_);
  });
}

}  // namespace restkv
