#pragma once

// A matrix of weights and how a machine multiplies with it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/result.h"
#include "restkv/views.h"
#include "tensor/gguf_file.h"

namespace restkv {

// How a product is carried out. A row's result never depends on its company, but for
// kExpandedGemm, where it may in the last bits (prefill only).
enum class Product : std::uint8_t {
  kPacked,        // our panels of weights and 8-bit activations; after Linear::pack() only
  kQuantised,     // ggml's row products; activations are rounded to the weight type's partner type
  kExpandedGemm,  // weights expanded to f32 block by block, multiplied by oneDNN in f32
  kExactDot,      // weights expanded to f32 row by row, one f32 dot product per output
};

// What a caller may ask for: the fixed choice, or one forced form.
enum class ProductChoice : std::uint8_t { kAuto, kQuantised, kF32 };

// For weights that are not packed; packed ones are multiplied as such, at any length. The product
// for a prefill of n_token tokens: a fixed function of the prompt's length, the same for every
// instruction set and weight type, never of a timing at run time.
[[nodiscard]] Product prefill_product(ProductChoice choice, std::size_t n_token);
// The product for decode: one token per sequence, any number of sequences.
[[nodiscard]] Product decode_product(ProductChoice choice);

struct WeightProduct;

// Scratch that products share; grows to the largest need and is reused. One per engine, used by one
// thread at a time. Allocation failure is std::bad_alloc, translated by the engine.
class LinearScratch {
 public:
  AlignedArray<std::byte> quantised;              // activations in the partner types, or in tiles
  std::vector<AlignedArray<float>> expanded;      // per worker: a block of weight rows
  std::vector<AlignedArray<std::byte>> unpacked;  // per worker: panels of packed weights
};

// y = x W^T + b. The weights stay in the file's mapping in their own type, unless they are packed.
// Immutable after pack(), shareable.
class Linear {
 public:
  Linear() = default;
  // weight: ne = [n_in, n_out]. bias: f32 [n_out], or null. kUnsupported for a type that ggml
  // cannot multiply, kCorrupt for a shape that differs from n_in x n_out or a bias that is not
  // finite.
  static Result<Linear> make(const TensorData& weight, const TensorData* bias, std::size_t n_in,
                             std::size_t n_out);

  [[nodiscard]] std::size_t n_in() const { return n_in_; }
  [[nodiscard]] std::size_t n_out() const { return n_out_; }
  [[nodiscard]] int weight_type() const { return type_; }
  [[nodiscard]] std::size_t bytes() const { return n_out_ * row_bytes_; }
  [[nodiscard]] std::span<const std::byte> data() const { return {data_, bytes()}; }
  explicit operator bool() const { return data_ != nullptr; }

  // Bytes that pack() writes; 0 when the type has no packed form or the table no product for it.
  [[nodiscard]] std::size_t packed_bytes(const KernelTable& kernels) const;
  // Copies the weights to `out`, which must outlive this object, for Product::kPacked.
  // REQUIRES: packed_bytes(kernels) > 0, `out` 64-byte aligned.
  void pack(const Threads& threads, const KernelTable& kernels, std::byte* out);
  [[nodiscard]] bool is_packed() const { return packed_ != nullptr; }

  // x: [m, n_in], y: [m, n_out]; strides free. Threads split output rows; the result does not
  // depend on their number.
  void forward(const Threads& threads, Product product, LinearScratch& scratch,
               View2<const float> x, View2<float> y) const;
  // Several products with the same x in one go (q, k, v; gate, up): x is rounded once.
  struct Task {
    const Linear* linear;
    Product product;
    View2<float> y;
  };
  static void forward_all(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                          std::span<const Task> tasks);

  // Row i of W as f32 (for embeddings and for the output projection's factors). out: [n_in].
  void expand_row(std::size_t i, float* out) const;

 private:
  static std::vector<WeightProduct> products_of(Product product, View2<const float> x,
                                                std::span<const Task> tasks);

  const std::byte* data_ = nullptr;
  int type_ = 0;
  std::size_t n_in_ = 0;
  std::size_t n_out_ = 0;
  std::size_t row_bytes_ = 0;
  std::vector<float> bias_;
  const std::byte* packed_ = nullptr;
  const KernelTable* kernels_ = nullptr;  // that multiply with packed_
};

}  // namespace restkv
