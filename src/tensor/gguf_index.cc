#include "tensor/gguf_index.h"

#include <ggml.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "base/quote.h"
#include "tensor/byte_reader.h"

namespace restkv {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read without swapping bytes");

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kOldestVersion = 2;
constexpr std::uint32_t kNewestVersion = 3;
constexpr std::size_t kDefaultAlignment = 32;
constexpr std::size_t kLeastAlignment = 8;                       // the specification's
constexpr std::size_t kLongestKey = 65535;                       // the specification's
constexpr std::size_t kLongestString = std::size_t{1} << 30;     // ggml's
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 30;  // ggml's

struct TypeEntry {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<TypeEntry, 13> kTypes = {{{"u8", 1},
                                               {"i8", 1},
                                               {"u16", 2},
                                               {"i16", 2},
                                               {"u32", 4},
                                               {"i32", 4},
                                               {"f32", 4},
                                               {"bool", 1},
                                               {"string", 0},
                                               {"array", 0},
                                               {"u64", 8},
                                               {"i64", 8},
                                               {"f64", 8}}};

bool is_known(std::uint32_t type) { return type < kTypes.size(); }

// Names appear in messages of one line and in JSON.
bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

class Indexer {
 public:
  Indexer(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name), reader_(bytes) {}

  Result<GgufIndex> run() {
    RESTKV_TRY(read_header());
    for (std::uint64_t i = 0; i < n_key_; ++i) RESTKV_TRY(read_key(i));
    RESTKV_TRY(read_alignment());
    for (std::uint64_t i = 0; i < n_tensor_; ++i) RESTKV_TRY(read_tensor(i));
    RESTKV_TRY(place_tensors());
    return std::move(index_);
  }

 private:
  [[nodiscard]] Error corrupt(const std::string& what) const {
    return {ErrorCode::kCorrupt,
            name_ + ": " + what + " (at byte " + std::to_string(reader_.position()) + ")"};
  }
  [[nodiscard]] Error ends_inside(const std::string& what) const {
    return {ErrorCode::kCorrupt, name_ + ": the file ends inside " + what + " (at byte " +
                                     std::to_string(reader_.position()) + " of " +
                                     std::to_string(bytes_.size()) + ")"};
  }
  [[nodiscard]] Error unsupported(const std::string& what) const {
    return {ErrorCode::kUnsupported, name_ + ": " + what};
  }

  Result<void> read_header();
  Result<void> read_key(std::uint64_t number);
  Result<void> read_value(std::string_view key);
  Result<void> read_payload(const std::string& what, GgufValue& value);
  Result<void> read_alignment();
  Result<void> read_tensor(std::uint64_t number);
  Result<void> read_shape(const std::string& what, TensorData& tensor);
  Result<void> measure(const std::string& what, TensorData& tensor);
  Result<void> place_tensors();

  std::span<const std::byte> bytes_;
  const std::string& name_;
  ByteReader reader_;
  std::uint64_t n_key_ = 0;
  std::uint64_t n_tensor_ = 0;
  std::uint64_t alignment_ = kDefaultAlignment;
  std::vector<std::uint64_t> offsets_;  // of the tensors, as stated
  GgufIndex index_;
};

Result<void> Indexer::read_header() {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  if (bytes_.empty()) return Error{ErrorCode::kCorrupt, name_ + ": the file is empty"};
  if (!reader_.read(magic)) return ends_inside("the magic number");
  if (magic != kMagic) {
    return Error{ErrorCode::kCorrupt, name_ + ": not a GGUF file: it does not begin with 'GGUF'"};
  }
  if (!reader_.read(version)) return ends_inside("the version");
  if ((version & 0xffff) == 0 && version != 0) {
    return unsupported("a big-endian GGUF file, which this machine cannot use");
  }
  if (version < kOldestVersion || version > kNewestVersion) {
    return unsupported("GGUF version " + std::to_string(version) + ": only 2 and 3 can be read");
  }
  if (!reader_.read(n_tensor_)) return ends_inside("the number of tensors");
  if (!reader_.read(n_key_)) return ends_inside("the number of keys");
  // A key takes 13 bytes at least, a tensor 32: a count beyond that is a lie, and is told at once.
  if (n_tensor_ > reader_.remaining() / 32) {
    return corrupt("states " + std::to_string(n_tensor_) + " tensors, more than the file can hold");
  }
  if (n_key_ > reader_.remaining() / 13) {
    return corrupt("states " + std::to_string(n_key_) + " keys, more than the file can hold");
  }
  return {};
}

Result<void> Indexer::read_key(std::uint64_t number) {
  const std::string which = "key " + std::to_string(number);
  std::string_view key;
  if (!reader_.read_string(key)) return ends_inside("the name of " + which);
  if (key.empty()) return corrupt(which + " has an empty name");
  if (key.size() > kLongestKey) return corrupt(which + " has a name of more than 65535 bytes");
  if (!is_printable(key)) return corrupt(which + " has a name that is not printable ASCII");
  if (index_.keys.contains(key)) return corrupt("key " + quoted(key) + " appears twice");
  return read_value(key);
}

Result<void> Indexer::read_value(std::string_view key) {
  const std::string what = "the value of key " + quoted(key);
  GgufValue value;
  std::uint32_t type = 0;
  if (!reader_.read(type)) return ends_inside(what);
  if (is_known(type) && static_cast<GgufType>(type) == GgufType::kArray) {
    value.is_array = true;
    if (!reader_.read(type) || !reader_.read(value.count)) return ends_inside(what);
    if (is_known(type) && static_cast<GgufType>(type) == GgufType::kArray) {
      return corrupt(what + " is an array of arrays");
    }
  }
  if (!is_known(type)) return corrupt(what + " has the unknown type " + std::to_string(type));
  if (value.count > kMostElements) {
    return corrupt(what + " states " + std::to_string(value.count) + " elements");
  }
  value.type = static_cast<GgufType>(type);
  RESTKV_TRY(read_payload(what, value));
  index_.keys.emplace(key, value);
  return {};
}

Result<void> Indexer::read_payload(const std::string& what, GgufValue& value) {
  const std::size_t start = reader_.position();
  if (value.type == GgufType::kString) {
    for (std::uint64_t i = 0; i < value.count; ++i) {
      std::string_view text;
      if (!reader_.read_string(text)) {
        return ends_inside(value.is_array ? "element " + std::to_string(i) + " of " + what : what);
      }
      if (text.size() > kLongestString) return corrupt(what + " has a string of more than 1 GiB");
    }
  } else if (!reader_.skip(value.count, gguf_type_bytes(value.type))) {
    return ends_inside(what);
  }
  value.payload = bytes_.data() + start;
  value.payload_bytes = reader_.position() - start;
  return {};
}

Result<void> Indexer::read_alignment() {
  const auto found = index_.keys.find("general.alignment");
  if (found == index_.keys.end()) return {};
  const GgufValue& value = found->second;
  if (value.is_array || value.type != GgufType::kU32) {
    return Error{ErrorCode::kCorrupt, name_ + ": key 'general.alignment' must be a u32"};
  }
  std::uint32_t alignment = 0;
  std::memcpy(&alignment, value.payload, sizeof(alignment));
  if (!std::has_single_bit(alignment) || alignment < kLeastAlignment) {
    return Error{ErrorCode::kCorrupt, name_ + ": key 'general.alignment' is " +
                                          std::to_string(alignment) +
                                          ", not a power of two of at least 8"};
  }
  alignment_ = alignment;
  return {};
}

Result<void> Indexer::read_tensor(std::uint64_t number) {
  const std::string which = "tensor " + std::to_string(number);
  std::string_view name;
  if (!reader_.read_string(name)) return ends_inside("the name of " + which);
  if (name.empty()) return corrupt(which + " has an empty name");
  if (name.size() >= GGML_MAX_NAME) {
    return corrupt(which + " has a name of " + std::to_string(name.size()) + " bytes, more than " +
                   std::to_string(GGML_MAX_NAME - 1));
  }
  if (!is_printable(name)) return corrupt(which + " has a name that is not printable ASCII");
  const std::string what = "tensor " + quoted(name);
  if (!index_.tensor_of_name.emplace(name, index_.tensors.size()).second) {
    return corrupt(what + " appears twice");
  }

  TensorData tensor;
  tensor.name = name;
  RESTKV_TRY(read_shape(what, tensor));
  std::uint32_t type = 0;
  if (!reader_.read(type)) return ends_inside("the type of " + what);
  if (type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(type)) == 0) {
    return corrupt(what + " has the unknown type " + std::to_string(type));
  }
  tensor.type = static_cast<int>(type);
  RESTKV_TRY(measure(what, tensor));
  std::uint64_t offset = 0;
  if (!reader_.read(offset)) return ends_inside("the offset of " + what);
  index_.tensors.push_back(std::move(tensor));
  offsets_.push_back(offset);
  return {};
}

Result<void> Indexer::read_shape(const std::string& what, TensorData& tensor) {
  std::uint32_t n_dim = 0;
  if (!reader_.read(n_dim)) return ends_inside("the shape of " + what);
  if (n_dim < 1 || n_dim > GGML_MAX_DIMS) {
    return corrupt(what + " has " + std::to_string(n_dim) + " dimensions, not 1 to 4");
  }
  std::int64_t elements = 1;
  for (std::uint32_t i = 0; i < n_dim; ++i) {
    std::int64_t ne = 0;
    if (!reader_.read(ne)) return ends_inside("the shape of " + what);
    if (ne <= 0) return corrupt(what + " has a dimension of " + std::to_string(ne));
    if (elements > std::numeric_limits<std::int64_t>::max() / ne) {
      return corrupt(what + " has more elements than can be counted");
    }
    elements *= ne;
    tensor.ne.push_back(ne);
  }
  return {};
}

// The size in bytes: whole blocks in each row, and never more than the file can hold.
Result<void> Indexer::measure(const std::string& what, TensorData& tensor) {
  const auto type = static_cast<ggml_type>(tensor.type);
  const std::int64_t block = ggml_blck_size(type);
  if (tensor.n_col() % block != 0) {
    return corrupt(what + " has rows of " + std::to_string(tensor.n_col()) +
                   " elements, not a multiple of " + std::to_string(block) + " as type " +
                   ggml_type_name(type) + " needs");
  }
  const auto blocks = static_cast<std::uint64_t>(tensor.n_col() / block * tensor.n_row());
  if (blocks > bytes_.size() / ggml_type_size(type)) {
    return corrupt(what + " is larger than the file");
  }
  tensor.bytes = blocks * ggml_type_size(type);
  return {};
}

// The tensors' data lies behind the table without gaps, in the table's order.
Result<void> Indexer::place_tensors() {
  if (index_.tensors.empty()) return {};
  const auto padded = [this](std::uint64_t n) {
    return (n + alignment_ - 1) / alignment_ * alignment_;
  };
  const std::uint64_t base = padded(reader_.position());
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < index_.tensors.size(); ++i) {
    TensorData& tensor = index_.tensors[i];
    const std::string what = "tensor " + quoted(tensor.name);
    if (offsets_[i] != expected) {
      return corrupt(what + " has offset " + std::to_string(offsets_[i]) + ", expected " +
                     std::to_string(expected));
    }
    const std::uint64_t begin = base + expected;
    if (begin > bytes_.size() || tensor.bytes > bytes_.size() - begin) {
      return Error{ErrorCode::kCorrupt, name_ + ": the data of " + what + " ends at byte " +
                                            std::to_string(begin + tensor.bytes) +
                                            ", behind the end of the file (at byte " +
                                            std::to_string(bytes_.size()) + ")"};
    }
    tensor.data = bytes_.data() + begin;
    expected += padded(tensor.bytes);
  }
  return {};
}

}  // namespace

std::size_t gguf_type_bytes(GgufType type) {
  const auto code = static_cast<std::uint32_t>(type);
  return is_known(code) ? kTypes[code].bytes : 0;
}

std::string_view gguf_type_name(GgufType type) {
  const auto code = static_cast<std::uint32_t>(type);
  return is_known(code) ? kTypes[code].name : "unknown";
}

Result<GgufIndex> index_gguf(std::span<const std::byte> bytes, const std::string& name) {
  return Indexer(bytes, name).run();
}

}  // namespace restkv
