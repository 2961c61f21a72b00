#include "tensor/linear.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>

#include "base/check.h"
#include "tensor/linear_products.h"
#include "tensor/packed_weights.h"
#include "tensor/weight_types.h"

namespace restkv {
namespace {

Error shape_error(const TensorData& tensor, const std::string& wanted) {
  return {ErrorCode::kCorrupt, "tensor " + tensor.describe() + " should be " + wanted};
}

// "[8, 4]", "[8]".
std::string shape_text(std::initializer_list<std::size_t> sizes) {
  std::string text;
  for (const std::size_t size : sizes) {
    text += text.empty() ? "[" : ", ";
    text += std::to_string(size);
  }
  return text.append("]");
}

}  // namespace

Result<Linear> Linear::make(const TensorData& weight, const TensorData* bias, std::size_t n_in,
                            std::size_t n_out) {
  const WeightType& type = weight_type_info(weight.type);
  if (!type.multiplies()) {
    return Error{ErrorCode::kUnsupported,
                 "tensor " + weight.describe() + " has a type that cannot be multiplied"};
  }
  const auto n_col = static_cast<std::size_t>(weight.n_col());
  if (n_col != n_in || static_cast<std::size_t>(weight.n_row()) != n_out ||
      n_in > std::numeric_limits<int>::max() || n_out > std::numeric_limits<int>::max()) {
    return shape_error(weight, shape_text({n_in, n_out}));
  }
  if (weight.n_col() % ggml_blck_size(type.partner) != 0) {
    return shape_error(
        weight, "of rows in whole blocks of " + std::to_string(ggml_blck_size(type.partner)));
  }
  Linear linear;
  linear.data_ = weight.data;
  linear.type_ = weight.type;
  linear.n_in_ = n_in;
  linear.n_out_ = n_out;
  linear.row_bytes_ = type.row_bytes(n_in);
  if (bias != nullptr) {
    if (bias->type != GGML_TYPE_F32 || bias->ne.size() != 1 ||
        static_cast<std::size_t>(bias->n_col()) != n_out) {
      return shape_error(*bias, shape_text({n_out}).append(" f32"));
    }
    linear.bias_.resize(n_out);
    std::memcpy(linear.bias_.data(), bias->data, n_out * sizeof(float));
    for (const float value : linear.bias_) {
      if (!std::isfinite(value)) {
        return Error{ErrorCode::kCorrupt, "tensor " + bias->name + " is not finite"};
      }
    }
  }
  return linear;
}

void Linear::forward(const Threads& threads, Product product, LinearScratch& scratch,
                     View2<const float> x, View2<float> y) const {
  const Task task{.linear = this, .product = product, .y = y};
  forward_all(threads, scratch, x, {&task, 1});
}

std::size_t Linear::packed_bytes(const KernelTable& kernels) const {
  if (kernels.multiply_packed == nullptr || !packed_kind(type_).has_value()) return 0;
  return restkv::packed_bytes({.type = type_, .data = data_, .n_in = n_in_, .n_out = n_out_});
}

void Linear::pack(const Threads& threads, const KernelTable& kernels, std::byte* out) {
  RESTKV_CHECK(packed_bytes(kernels) > 0);
  pack_weights(threads, {.type = type_, .data = data_, .n_in = n_in_, .n_out = n_out_}, out);
  packed_ = out;
  kernels_ = &kernels;
}

void Linear::forward_all(const Threads& threads, LinearScratch& scratch, View2<const float> x,
                         std::span<const Task> tasks) {
  if (x.rows == 0) return;
  constexpr Product kAll[] = {Product::kPacked, Product::kQuantised, Product::kExpandedGemm,
                              Product::kExactDot};
  for (const Product product : kAll) {
    const std::vector<WeightProduct> products = products_of(product, x, tasks);
    if (products.empty()) continue;
    switch (product) {
      case Product::kPacked: multiply_packed(threads, scratch, x, products); break;
      case Product::kQuantised: multiply_quantised(threads, scratch, x, products); break;
      case Product::kExpandedGemm: multiply_expanded(threads, scratch, x, products); break;
      case Product::kExactDot: multiply_exact(threads, scratch, x, products); break;
    }
  }
}

std::vector<WeightProduct> Linear::products_of(Product product, View2<const float> x,
                                               std::span<const Task> tasks) {
  std::vector<WeightProduct> products;
  for (const Task& task : tasks) {
    if (task.product != product) continue;
    const Linear& linear = *task.linear;
    RESTKV_CHECK(linear.data_ != nullptr && x.cols == linear.n_in_);
    RESTKV_CHECK(task.y.rows == x.rows && task.y.cols == linear.n_out_);
    RESTKV_CHECK(product != Product::kPacked || linear.is_packed());
    products.push_back({.type = &weight_type_info(linear.type_),
                        .weights = product == Product::kPacked ? linear.packed_ : linear.data_,
                        .row_bytes = linear.row_bytes_,
                        .bias = linear.bias_,
                        .kernels = linear.kernels_,
                        .y = task.y});
  }
  return products;
}

void Linear::expand_row(std::size_t i, float* out) const {
  RESTKV_DCHECK(i < n_out_);
  weight_type_info(type_).expand(data_ + i * row_bytes_, n_in_, out);
}

}  // namespace restkv
