#pragma once

// Non-owning views of row-major arrays. A view is two or three numbers and a pointer: copy it.

#include <cstddef>
#include <span>
#include <type_traits>

namespace restkv {

// [rows, cols]; row i starts at data + i * stride (in elements).
template <typename T>
struct View2 {
  T* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  constexpr View2() = default;
  constexpr View2(T* data_in, std::size_t rows_in, std::size_t cols_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(cols_in) {}
  constexpr View2(T* data_in, std::size_t rows_in, std::size_t cols_in, std::size_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}

  [[nodiscard]] constexpr std::span<T> row(std::size_t i) const {
    return {data + i * stride, cols};
  }
  // Rows [first, first + count).
  [[nodiscard]] constexpr View2 slice(std::size_t first, std::size_t count) const {
    return {data + first * stride, count, cols, stride};
  }
  constexpr operator View2<const T>() const  // NOLINT(*-explicit-*)
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }
};

// [planes, rows, cols], densely packed.
template <typename T>
struct View3 {
  T* data = nullptr;
  std::size_t planes = 0;
  std::size_t rows = 0;
  std::size_t cols = 0;

  [[nodiscard]] constexpr View2<T> plane(std::size_t i) const {
    return {data + i * rows * cols, rows, cols};
  }
  constexpr operator View3<const T>() const  // NOLINT(*-explicit-*)
    requires(!std::is_const_v<T>)
  {
    return {data, planes, rows, cols};
  }
};

}  // namespace restkv
