#include "tensor/gguf_file.h"

#include <ggml.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "base/check.h"
#include "tensor/byte_reader.h"
#include "tensor/file_bytes.h"
#include "tensor/gguf_index.h"

namespace restkv {
namespace {

template <typename T>
T element(const GgufValue& value, std::size_t i) {
  T result;
  std::memcpy(&result, value.payload + i * sizeof(T), sizeof(T));
  return result;
}

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kU16:
    case GgufType::kI16:
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kU64:
    case GgufType::kI64: return true;
    default: return false;
  }
}

// nullopt when a u64 does not fit. REQUIRES: an integer or bool kind, i < count.
std::optional<std::int64_t> integer_element(const GgufValue& value, std::size_t i) {
  switch (value.type) {
    case GgufType::kU8: return element<std::uint8_t>(value, i);
    case GgufType::kI8: return element<std::int8_t>(value, i);
    case GgufType::kU16: return element<std::uint16_t>(value, i);
    case GgufType::kI16: return element<std::int16_t>(value, i);
    case GgufType::kU32: return element<std::uint32_t>(value, i);
    case GgufType::kI32: return element<std::int32_t>(value, i);
    case GgufType::kI64: return element<std::int64_t>(value, i);
    case GgufType::kBool: return element<std::uint8_t>(value, i) != 0 ? 1 : 0;
    default: break;
  }
  const auto wide = element<std::uint64_t>(value, i);
  if (wide > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(wide);
}

// REQUIRES: f32 or f64, i < count.
double number_element(const GgufValue& value, std::size_t i) {
  return value.type == GgufType::kF32 ? element<float>(value, i) : element<double>(value, i);
}

// REQUIRES: a string kind, i < count is the next one behind those that the reader has passed.
std::string_view next_string(ByteReader& reader) {
  std::string_view text;
  RESTKV_CHECK(reader.read_string(text));  // the index has walked over it
  return text;
}

class IndexedGgufFile final : public GgufFile {
 public:
  static Result<std::shared_ptr<const GgufFile>> make(std::string path,
                                                      std::optional<FileBytes> owned,
                                                      std::span<const std::byte> bytes) {
    RESTKV_ASSIGN(GgufIndex index, index_gguf(bytes, path));
    auto file = std::make_shared<IndexedGgufFile>(std::move(path), std::move(owned), bytes.size(),
                                                  std::move(index));
    RESTKV_TRY(file->check_identity());
    return std::shared_ptr<const GgufFile>(std::move(file));
  }

  IndexedGgufFile(std::string path, std::optional<FileBytes> owned, std::size_t file_bytes,
                  GgufIndex index)
      : path_(std::move(path)),
        owned_(std::move(owned)),
        file_bytes_(file_bytes),
        index_(std::move(index)) {}

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] const std::string& architecture() const override { return architecture_; }
  [[nodiscard]] std::size_t file_bytes() const override { return file_bytes_; }
  void give_back(std::span<const std::byte> bytes) const override {
    if (owned_.has_value()) owned_->give_back(bytes);
  }

  [[nodiscard]] Result<std::optional<std::int64_t>> integer(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<std::int64_t>();
    if (value->is_array || !is_integer(value->type)) return wrong_type(key, *value, "an integer");
    const auto result = integer_element(*value, 0);
    if (!result) return corrupt(key, "is too large");
    return result;
  }

  [[nodiscard]] Result<std::optional<double>> number(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<double>();
    if (value->is_array || !is_number(value->type)) return wrong_type(key, *value, "a number");
    const double result = number_element(*value, 0);
    if (!std::isfinite(result)) return corrupt(key, "is not a finite number");
    return std::optional<double>(result);
  }

  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<bool>();
    if (value->is_array || value->type != GgufType::kBool) return wrong_type(key, *value, "a bool");
    return std::optional<bool>(element<std::uint8_t>(*value, 0) != 0);
  }

  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<std::string>();
    if (value->is_array || value->type != GgufType::kString) {
      return wrong_type(key, *value, "a string");
    }
    ByteReader reader({value->payload, value->payload_bytes});
    return std::optional<std::string>(next_string(reader));
  }

  [[nodiscard]] Result<std::optional<std::vector<std::int64_t>>> integers(
      std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<std::vector<std::int64_t>>();
    if (!is_integer(value->type) && value->type != GgufType::kBool) {
      return wrong_type(key, *value, "an array of integers");
    }
    std::vector<std::int64_t> result;
    result.reserve(value->count);
    for (std::size_t i = 0; i < value->count; ++i) {
      const auto next = integer_element(*value, i);
      if (!next) return corrupt(key, "has an element that is too large");
      result.push_back(*next);
    }
    return std::optional(std::move(result));
  }

  [[nodiscard]] Result<std::optional<std::vector<double>>> numbers(
      std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<std::vector<double>>();
    if (!is_number(value->type)) return wrong_type(key, *value, "an array of numbers");
    std::vector<double> result;
    result.reserve(value->count);
    for (std::size_t i = 0; i < value->count; ++i) result.push_back(number_element(*value, i));
    return std::optional(std::move(result));
  }

  [[nodiscard]] Result<std::optional<std::vector<std::string_view>>> strings(
      std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::optional<std::vector<std::string_view>>();
    if (!value->is_array || value->type != GgufType::kString) {
      return wrong_type(key, *value, "an array of strings");
    }
    std::vector<std::string_view> result;
    result.reserve(value->count);
    ByteReader reader({value->payload, value->payload_bytes});
    for (std::size_t i = 0; i < value->count; ++i) result.push_back(next_string(reader));
    return std::optional(std::move(result));
  }

  [[nodiscard]] std::optional<std::size_t> array_size(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr || !value->is_array) return std::nullopt;
    return value->count;
  }

  [[nodiscard]] bool is_string_array(std::string_view key) const override {
    const GgufValue* value = find(key);
    return value != nullptr && value->is_array && value->type == GgufType::kString;
  }

  [[nodiscard]] std::string type_of(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return "";
    return (value->is_array ? "array of " : "") + std::string(gguf_type_name(value->type));
  }

  [[nodiscard]] std::span<const TensorData> tensors() const override { return index_.tensors; }

  [[nodiscard]] const TensorData* tensor(std::string_view name) const override {
    const auto found = index_.tensor_of_name.find(name);
    return found == index_.tensor_of_name.end() ? nullptr : &index_.tensors[found->second];
  }

 private:
  static bool is_number(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

  [[nodiscard]] const GgufValue* find(std::string_view key) const {
    const auto found = index_.keys.find(key);
    return found == index_.keys.end() ? nullptr : &found->second;
  }

  [[nodiscard]] Error corrupt(std::string_view key, const std::string& what) const {
    return {ErrorCode::kCorrupt, path_ + ": key '" + std::string(key) + "' " + what};
  }

  [[nodiscard]] Error wrong_type(std::string_view key, const GgufValue& value,
                                 const std::string& wanted) const {
    return corrupt(key, "is " + std::string(value.is_array ? "an array of " : "a ") +
                            std::string(gguf_type_name(value.type)) + ", not " + wanted);
  }

  // What it is a model of, and that it is a whole one.
  Result<void> check_identity() {
    RESTKV_ASSIGN(const auto architecture, text("general.architecture"));
    if (!architecture) return corrupt("general.architecture", "is missing");
    for (const char c : *architecture) {
      if (c < 0x20 || c > 0x7e) return corrupt("general.architecture", "is not printable ASCII");
    }
    architecture_ = *architecture;
    RESTKV_ASSIGN(const auto parts, integer("split.count"));
    if (parts.value_or(1) > 1) {
      return Error{ErrorCode::kUnsupported, path_ + ": one of " + std::to_string(*parts) +
                                                " parts of a model: join them into one file first"};
    }
    return {};
  }

  std::string path_;
  std::optional<FileBytes> owned_;  // empty for memory of somebody else
  std::size_t file_bytes_;
  GgufIndex index_;  // points into the bytes
  std::string architecture_;
};

}  // namespace

std::int64_t TensorData::n_row() const {
  std::int64_t rows = 1;
  for (std::size_t i = 1; i < ne.size(); ++i) rows *= ne[i];
  return rows;
}

std::string TensorData::describe() const {
  std::string text = name + " [";
  for (std::size_t i = 0; i < ne.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(ne[i]);
  }
  const bool known = type >= 0 && type < GGML_TYPE_COUNT;  // ggml does not look
  return text + "] " +
         (known ? ggml_type_name(static_cast<ggml_type>(type)) : "type " + std::to_string(type));
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::string& path,
                                                       const GgufOpenOptions& options) {
  try {
    RESTKV_ASSIGN(FileBytes file, FileBytes::open(path, options.access));
    const std::span<const std::byte> bytes = file.bytes();
    return IndexedGgufFile::make(path, std::move(file), bytes);
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory, path + ": no memory for the file's keys and tensors"};
  }
}

Result<std::shared_ptr<const GgufFile>> GgufFile::from_memory(std::span<const std::byte> bytes,
                                                              std::string_view name) {
  try {
    return IndexedGgufFile::make(std::string(name), std::nullopt, bytes);
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kOutOfMemory,
                 std::string(name) + ": no memory for the file's keys and tensors"};
  }
}

}  // namespace restkv
