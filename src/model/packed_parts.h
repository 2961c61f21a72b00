#pragma once

// The packed copies of a model's weights, in parts that come and go: while a long prompt passes
// through one layer, the copies of the others need no memory.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/linear.h"

namespace restkv {

// Not thread-safe. The matrices must stay where they are.
class PackedParts {
 public:
  // Called for each matrix after its copy was written.
  using OnPacked = std::function<void(const Linear&)>;

  using Matrices = std::vector<std::vector<Linear*>>;  // by part
  // Of all copies together.
  [[nodiscard]] static std::size_t bytes_of(const Matrices& parts, const KernelTable& kernels);

  // Room for all parts, of which none is held yet. Matrices without a packed form are left out.
  // Throws std::bad_alloc.
  PackedParts(const Matrices& parts, const KernelTable& kernels, OnPacked on_packed);

  [[nodiscard]] std::size_t count() const { return parts_.size(); }
  [[nodiscard]] bool holds(std::size_t part) const { return parts_[part].is_held; }

  // Packs the part's matrices, to the same bits every time; nothing happens while it is held. May
  // throw std::bad_alloc; the part is not held then.
  void hold(const Threads& threads, std::size_t part);
  // Gives the part's memory back to the system. Its matrices must not multiply until hold().
  void let_go(std::size_t part);

 private:
  struct Copy {
    Linear* matrix = nullptr;
    std::byte* at = nullptr;
  };
  struct Part {
    std::vector<Copy> copies;
    std::span<std::byte> bytes;
    bool is_held = false;
  };

  const KernelTable& kernels_;
  OnPacked on_packed_;
  AlignedArray<std::byte> memory_;
  std::vector<Part> parts_;
};

}  // namespace restkv
