#pragma once

// What the tokens of a prompt carry from layer to layer: beside one layer's keys and values the
// only thing that grows with the prompt, and the larger of the two. Kept in f32, or in bf16, which
// is half of it and rounds once a layer.

#include <cstddef>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/types.h"
#include "restkv/views.h"

namespace restkv {

class HiddenStates {
 public:
  // type: kF32 or kBf16.
  HiddenStates(KvType type, const KernelTable& kernels, const Threads& threads);

  // Room for n tokens of n_embd elements, of which at most `most` are taken at a time. Throws
  // std::bad_alloc.
  void reserve(std::size_t n, std::size_t n_embd, std::size_t most);
  // Tokens [first, first + count) to read and to change: [count, n_embd], valid until the next
  // take(). What was changed counts after put().
  [[nodiscard]] View2<float> take(std::size_t first, std::size_t count);
  // The same without the old content, to be filled.
  [[nodiscard]] View2<float> take_blank(std::size_t first, std::size_t count);
  // REQUIRES: part of the view that the last take() gave, for the same tokens.
  void put(std::size_t first, View2<const float> changed);

  // Lets all of it go.
  void release();

  // What reserve() took, and nothing after release().
  [[nodiscard]] std::size_t bytes() const {
    return floats_.size() * sizeof(float) + halves_.size();
  }

 private:
  const KernelTable& kernels_;
  const Threads& threads_;
  KvType type_;
  std::size_t n_embd_ = 0;
  AlignedArray<float> floats_;  // [n, n_embd] in f32, else of the tokens taken
  AlignedArray<std::byte> halves_;
};

}  // namespace restkv
