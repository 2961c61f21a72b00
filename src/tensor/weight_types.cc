#include "tensor/weight_types.h"

#include <array>
#include <cstring>

namespace restkv {
namespace {

using Table = std::array<WeightType, GGML_TYPE_COUNT + 1>;  // the last entry: types that are not

Table make_table() {
  ggml_cpu_init();  // fills ggml's tables for f16 and others; safe to call again
  Table table;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    WeightType& entry = table[static_cast<std::size_t>(i)];
    entry.type = static_cast<ggml_type>(i);
    if (ggml_blck_size(entry.type) == 0) continue;
    const ggml_type_traits_cpu* traits = ggml_get_type_traits_cpu(entry.type);
    entry.to_float = ggml_get_type_traits(entry.type)->to_float;
    entry.dot = traits->vec_dot;
    entry.partner = traits->vec_dot_type;
    entry.to_partner = ggml_get_type_traits_cpu(entry.partner)->from_float;
  }
  return table;
}

const Table& table() {
  static const Table kTable = make_table();
  return kTable;
}

}  // namespace

bool WeightType::multiplies() const {
  return dot != nullptr && to_partner != nullptr && (to_float != nullptr || type == GGML_TYPE_F32);
}

void WeightType::expand(const std::byte* row, std::size_t n, float* out) const {
  if (type == GGML_TYPE_F32) {
    std::memcpy(out, row, n * sizeof(float));
  } else {
    to_float(row, out, size(n));
  }
}

const WeightType& weight_type_info(int type) {
  const bool known = type >= 0 && type < GGML_TYPE_COUNT;
  return table()[static_cast<std::size_t>(known ? type : GGML_TYPE_COUNT)];
}

float dot_f32(const float* a, const float* b, std::size_t n) {
  float sum = 0;
  weight_type_info(GGML_TYPE_F32).dot(static_cast<int>(n), &sum, 0, a, 0, b, 0, 1);
  return sum;
}

}  // namespace restkv
