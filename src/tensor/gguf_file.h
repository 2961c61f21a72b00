#pragma once

// A GGUF file that was checked before anything trusts it: header, keys, tensor table, sizes and
// offsets. Read by a small reader of our own (gguf_index.h), which accepts less than ggml's parser:
// what passes open() can be read by every accessor below, and by ggml and libllama, without a
// crash.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/result.h"

namespace restkv {

// Weight data of one tensor inside the file's mapping (or copy).
struct TensorData {
  std::string name;
  int type = 0;                  // ggml_type
  std::vector<std::int64_t> ne;  // 1 to 4 dimensions, ne[0] fastest
  const std::byte* data = nullptr;
  std::size_t bytes = 0;

  [[nodiscard]] std::int64_t n_col() const { return ne.empty() ? 0 : ne[0]; }  // length of a row
  [[nodiscard]] std::int64_t n_row() const;  // product of the other dimensions
  // "name [ne0, ne1] q5_0": for messages.
  [[nodiscard]] std::string describe() const;
};

struct GgufOpenOptions {
  enum class Access : std::uint8_t { kMap, kRead };  // --no-mmap = kRead
  Access access = Access::kMap;
};

class GgufFile {
 public:
  // kNotFound, kIo, kCorrupt (message: "<path>: what is wrong where"), kOutOfMemory; kUnsupported
  // for big-endian files, other versions of the format, and parts of a split model.
  static Result<std::shared_ptr<const GgufFile>> open(const std::string& path,
                                                      const GgufOpenOptions& options = {});
  // The same from memory, which must outlive the object: tests and fuzzing.
  // REQUIRES: bytes.data() is on an 8-byte boundary.
  static Result<std::shared_ptr<const GgufFile>> from_memory(std::span<const std::byte> bytes,
                                                             std::string_view name);
  virtual ~GgufFile() = default;

  [[nodiscard]] virtual const std::string& path() const = 0;
  // "qwen2", ...
  [[nodiscard]] virtual const std::string& architecture() const = 0;
  [[nodiscard]] virtual std::size_t file_bytes() const = 0;

  // Values of keys. nullopt when the key is missing; kCorrupt when it has another type (integer
  // kinds convert if the value fits, f64 to f32 as well).
  virtual Result<std::optional<std::int64_t>> integer(std::string_view key) const = 0;
  virtual Result<std::optional<double>> number(std::string_view key) const = 0;
  virtual Result<std::optional<bool>> boolean(std::string_view key) const = 0;
  virtual Result<std::optional<std::string>> text(std::string_view key) const = 0;
  // Arrays of any integer or bool kind, and of f32/f64. A scalar counts as an array of one.
  virtual Result<std::optional<std::vector<std::int64_t>>> integers(std::string_view key) const = 0;
  virtual Result<std::optional<std::vector<double>>> numbers(std::string_view key) const = 0;
  // Views into the file. Any bytes: not checked for UTF-8.
  virtual Result<std::optional<std::vector<std::string_view>>> strings(
      std::string_view key) const = 0;
  // Number of elements of an array key of any type; nullopt when missing or not an array.
  [[nodiscard]] virtual std::optional<std::size_t> array_size(std::string_view key) const = 0;
  // True when the key is an array of strings.
  [[nodiscard]] virtual bool is_string_array(std::string_view key) const = 0;
  // "u32", "string", "array of f32", ... for checks of what libllama reads by exact type; "" when
  // missing.
  [[nodiscard]] virtual std::string type_of(std::string_view key) const = 0;

  [[nodiscard]] virtual std::span<const TensorData> tensors() const = 0;
  // Says that these bytes of the file will hardly be read again: a mapping's pages are given back
  // to the system and come again when they are read; nothing happens otherwise.
  virtual void give_back(std::span<const std::byte> bytes) const = 0;
  // Null when there is none of that name.
  [[nodiscard]] virtual const TensorData* tensor(std::string_view name) const = 0;

 protected:
  GgufFile() = default;
};

}  // namespace restkv
