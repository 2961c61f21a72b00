#pragma once

// Reads everything that a file says through every accessor, beside ggml's own parser, which gets
// the same bytes: what we accept ggml must accept too, and see the same.

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/gguf_file.h"

namespace restkv {

class GgufWalk {
 public:
  // Empty, or what the two see differently.
  static std::string difference(std::span<const std::byte> bytes, const GgufFile& file) {
    GgufWalk walk(bytes, file);
    if (walk.keys_ == nullptr) return "ggml refuses the file";
    for (std::int64_t i = 0; i < gguf_get_n_kv(walk.keys_.get()); ++i) walk.compare_key(i);
    walk.compare_tensors();
    return walk.difference_;
  }

 private:
  GgufWalk(std::span<const std::byte> bytes, const GgufFile& file) : bytes_(bytes), file_(file) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(
        ::fmemopen(const_cast<std::byte*>(bytes.data()), bytes.size(), "rb"), &std::fclose);
    ggml_context* shapes = nullptr;
    keys_.reset(gguf_init_from_file_ptr(stream.get(), {.no_alloc = true, .ctx = &shapes}));
    shapes_.reset(shapes);
  }

  void expect(bool same, std::string_view what, std::string_view where) {
    if (!same && difference_.empty()) difference_ = std::string(what) + " of " + std::string(where);
  }

  void compare_key(std::int64_t i) {
    static constexpr std::array kNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                          "bool", "string", "array", "u64", "i64", "f64"};
    const std::string key = gguf_get_key(keys_.get(), i);
    const bool is_array = gguf_get_kv_type(keys_.get(), i) == GGUF_TYPE_ARRAY;
    const gguf_type type =
        is_array ? gguf_get_arr_type(keys_.get(), i) : gguf_get_kv_type(keys_.get(), i);
    const std::size_t n = is_array ? gguf_get_arr_n(keys_.get(), i) : 1;
    expect(file_.type_of(key) == (is_array ? "array of " : "") + std::string(kNames.at(type)),
           "type", key);
    expect(file_.array_size(key).value_or(1) == n && file_.array_size(key).has_value() == is_array,
           "array size", key);
    expect(file_.is_string_array(key) == (is_array && type == GGUF_TYPE_STRING), "kind", key);
    int n_fit = 0;  // readers of one value that take it; none takes a number that is too large
    for (const bool fits : {file_.integer(key).ok(), file_.number(key).ok(),
                            file_.boolean(key).ok(), file_.text(key).ok()}) {
      n_fit += fits ? 1 : 0;
    }
    expect(n_fit <= (is_array ? 0 : 1), "readers", key);
    if (type == GGUF_TYPE_STRING) {
      compare_strings(i, key, n);
    } else if (type == GGUF_TYPE_FLOAT32) {
      compare_floats(i, key, n, is_array);
    } else if (type == GGUF_TYPE_UINT32) {
      compare_integers<std::uint32_t>(i, key, n, is_array);
    } else if (type == GGUF_TYPE_INT32) {
      compare_integers<std::int32_t>(i, key, n, is_array);
    } else if (type == GGUF_TYPE_INT8) {
      compare_integers<std::int8_t>(i, key, n, is_array);
    }
  }

  [[nodiscard]] const void* data_of(std::int64_t i, bool is_array) const {
    return is_array ? gguf_get_arr_data(keys_.get(), i) : gguf_get_val_data(keys_.get(), i);
  }

  template <typename T>
  void compare_integers(std::int64_t i, const std::string& key, std::size_t n, bool is_array) {
    const auto values = file_.integers(key);
    if (!values.ok() || !*values || (*values)->size() != n) return expect(false, "values", key);
    const auto* theirs = static_cast<const T*>(data_of(i, is_array));
    expect(std::equal((*values)->begin(), (*values)->end(), theirs), "values", key);
  }

  void compare_floats(std::int64_t i, const std::string& key, std::size_t n, bool is_array) {
    const auto values = file_.numbers(key);
    if (!values.ok() || !*values || (*values)->size() != n) return expect(false, "values", key);
    const auto* theirs = static_cast<const float*>(data_of(i, is_array));
    for (std::size_t k = 0; k < n; ++k) {
      const double ours = (**values)[k];
      expect(ours == theirs[k] || (ours != ours && theirs[k] != theirs[k]), "values", key);
    }
  }

  // ggml hands out strings up to their first NUL.
  void compare_strings(std::int64_t i, const std::string& key, std::size_t n) {
    std::vector<std::string_view> ours;
    std::string one;
    if (gguf_get_kv_type(keys_.get(), i) == GGUF_TYPE_ARRAY) {
      const auto values = file_.strings(key);
      if (values.ok() && *values) ours = **values;
    } else {
      const auto value = file_.text(key);
      if (value.ok() && *value) one = **value;
      ours.push_back(one);
    }
    if (ours.size() != n) return expect(false, "number of strings", key);
    for (std::size_t k = 0; k < n; ++k) {
      const char* theirs = gguf_get_kv_type(keys_.get(), i) == GGUF_TYPE_ARRAY
                               ? gguf_get_arr_str(keys_.get(), i, k)
                               : gguf_get_val_str(keys_.get(), i);
      expect(ours[k].substr(0, ours[k].find('\0')) == theirs, "string", key);
    }
  }

  void compare_tensors() {
    const auto tensors = file_.tensors();
    const auto n = static_cast<std::int64_t>(tensors.size());
    if (gguf_get_n_tensors(keys_.get()) != n) return expect(false, "number", "tensors");
    unsigned sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const TensorData& ours = tensors[static_cast<std::size_t>(i)];
      const ggml_tensor* theirs = ggml_get_tensor(shapes_.get(), ours.name.c_str());
      if (theirs == nullptr) return expect(false, "name", ours.name);
      expect(file_.tensor(ours.name) == &ours, "index", ours.name);
      expect(theirs->type == ours.type, "type", ours.describe());
      for (std::size_t d = 0; d < GGML_MAX_DIMS; ++d) {
        expect(theirs->ne[d] == (d < ours.ne.size() ? ours.ne[d] : 1), "shape", ours.describe());
      }
      expect(ggml_nelements(theirs) == ours.n_col() * ours.n_row(), "elements", ours.describe());
      expect(ggml_nbytes(theirs) == ours.bytes, "bytes", ours.describe());
      const std::size_t at =
          gguf_get_data_offset(keys_.get()) + gguf_get_tensor_offset(keys_.get(), i);
      expect(bytes_.data() + at == ours.data, "offset", ours.describe());
      for (std::size_t k = 0; k < ours.bytes; ++k) sum += static_cast<unsigned>(ours.data[k]);
    }
    volatile unsigned sink = sum;  // every byte was really read
    (void)sink;
  }

  struct Free {
    void operator()(gguf_context* context) const { gguf_free(context); }
    void operator()(ggml_context* context) const { ggml_free(context); }
  };
  std::span<const std::byte> bytes_;
  const GgufFile& file_;
  std::unique_ptr<gguf_context, Free> keys_;
  std::unique_ptr<ggml_context, Free> shapes_;
  std::string difference_;
};

}  // namespace restkv
