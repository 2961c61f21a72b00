#include "tensor/linear.h"

namespace restkv {

Product prefill_product(ProductChoice choice, int weight_type, std::size_t n_token) {
  (void)weight_type;
  if (choice == ProductChoice::kQuantised) return Product::kQuantised;
  if (choice == ProductChoice::kF32)
    return n_token <= 4 ? Product::kExactDot : Product::kExpandedGemm;
  return n_token < 32 ? Product::kQuantised : Product::kExpandedGemm;
}

Product decode_product(ProductChoice choice) {
  return choice == ProductChoice::kF32 ? Product::kExactDot : Product::kQuantised;
}

}  // namespace restkv
