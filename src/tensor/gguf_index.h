#pragma once

// Where everything is in the bytes of a GGUF file, found by a reader that believes nothing. All
// that ggml's own parser (which libllama uses on the same file later) refuses, asserts on or leaves
// unchecked is refused here; format: the GGUF specification, versions 2 and 3.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

// The type codes of GGUF values.
enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// Bytes of one value; 0 for strings, arrays and unknown codes.
[[nodiscard]] std::size_t gguf_type_bytes(GgufType type);
// "u32", "string", ...
[[nodiscard]] std::string_view gguf_type_name(GgufType type);

// The value of a key. Its payload is known to lie inside the file: count elements of a fixed size,
// or count strings, each a 64-bit length and its bytes.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of the elements when an array
  bool is_array = false;
  std::uint64_t count = 1;
  const std::byte* payload = nullptr;
  std::size_t payload_bytes = 0;
};

// Names and payloads point into the bytes that were indexed.
struct GgufIndex {
  std::unordered_map<std::string_view, GgufValue> keys;
  std::vector<TensorData> tensors;
  std::unordered_map<std::string_view, std::size_t> tensor_of_name;
};

// kCorrupt or kUnsupported ("<name>: what is wrong (where)"). Memory: in proportion to the keys and
// tensors that are really there, never to a count that the file states. May throw std::bad_alloc.
Result<GgufIndex> index_gguf(std::span<const std::byte> bytes, const std::string& name);

}  // namespace restkv
