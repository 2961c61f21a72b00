// What no product can be made of.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tensor/linear_matrices.h"

namespace restkv {
namespace {

Error error_of(const Result<Linear>& linear) {
  EXPECT_FALSE(linear.ok());
  return linear.ok() ? Error{} : linear.error();
}

TEST(LinearMake, RefusesAnotherShape) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 64, 4);
  EXPECT_TRUE(Linear::make(matrix.tensor(), nullptr, 64, 4).ok());
  for (const auto& [n_in, n_out] : {std::pair<std::size_t, std::size_t>{32, 4}, {64, 5}, {4, 64}}) {
    const Error error = error_of(Linear::make(matrix.tensor(), nullptr, n_in, n_out));
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_EQ(error.message, "tensor blk.0.attn_q.weight [64, 4] q8_0 should be [" +
                                 std::to_string(n_in) + ", " + std::to_string(n_out) + "]");
  }
}

TEST(LinearMake, RefusesRowsOfBrokenBlocks) {
  TensorData tensor = make_matrix(GGML_TYPE_Q4_0, 64, 4).tensor();
  tensor.ne[0] = 48;
  const Error error = error_of(Linear::make(tensor, nullptr, 48, 4));
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_NE(error.message.find("whole blocks of 32"), std::string::npos) << error.message;
}

TEST(LinearMake, RefusesTypesThatCannotBeMultiplied) {
  for (const int type : {GGML_TYPE_I32, GGML_TYPE_I8, GGML_TYPE_F64, GGML_TYPE_Q8_K}) {
    TensorData tensor = make_matrix(GGML_TYPE_F32, 256, 4).tensor();
    tensor.type = type;
    const Error error = error_of(Linear::make(tensor, nullptr, 256, 4));
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    const std::string name = ggml_type_name(static_cast<ggml_type>(type));
    EXPECT_EQ(error.message, "tensor blk.0.attn_q.weight [256, 4] " + name +
                                 " has a type that cannot be multiplied");
  }
}

TEST(LinearMake, RefusesAnotherBias) {
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 64, 4);
  const TensorData good = matrix.bias_tensor();
  TensorData too_long = good;
  too_long.ne = {5};
  TensorData of_halves = good;
  of_halves.type = GGML_TYPE_F16;
  TensorData flat = good;
  flat.ne = {4, 1};
  EXPECT_TRUE(Linear::make(matrix.tensor(), &good, 64, 4).ok());
  for (const TensorData& bias : {too_long, of_halves, flat}) {
    const Error error = error_of(Linear::make(matrix.tensor(), &bias, 64, 4));
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_EQ(error.message, "tensor " + bias.describe() + " should be [4] f32");
  }
}

}  // namespace
}  // namespace restkv
